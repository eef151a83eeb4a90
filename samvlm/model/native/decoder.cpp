// One step of a Llama-shaped decoder (Touvron et al., 2023): the scores of the next token of a few rows, from the keys
// and values so far; for one instruction set, as attention.cpp.
//
// A small decoder spends its time between PyTorch's operators, not in them. Here a step is one call. Sums are fp32; a
// weight is read as bf16 where its values are bf16's, which halves what has to come from memory and changes no number.
#include "decoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

namespace {

constexpr int PART = 4;                      // vectors of a panel that are summed together
constexpr int ROWS = LANES == 16 ? 4 : 2;    // rows that share a weight in a register
constexpr float LOG2E = 1.4426950408889634f;

inline long up(long number, long step) { return (number + step - 1) / step * step; }

inline vec read_vector(const float* from) { return load(from); }
inline vec read_vector(const bf16* from) {
#if defined(__AVX512F__)
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16);
#else
    vec value;
    for (int i = 0; i < LANES; i++) ((uint32_t*)&value)[i] = (uint32_t)from[i] << 16;
    return value;
#endif
}

template <class T, int R>
inline void product_part(const T* weight, long inputs, const float* x, long x_row, float* y, long y_row) {
    vec sums[R][PART] = {};
    for (long k = 0; k < inputs; k++, weight += PANEL) {
        vec w[PART];
#pragma GCC unroll 4
        for (int j = 0; j < PART; j++) w[j] = read_vector(weight + j * LANES);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int j = 0; j < PART; j++) sums[r][j] += w[j] * x[r * x_row + k];
    }
    for (int r = 0; r < R; r++)
        for (int j = 0; j < PART; j++) store(y + r * y_row + j * LANES, sums[r][j]);
}

// y[row] = weight x[row]; y in rows of y_row numbers, outputs filled up to PANEL.
template <class T>
void product(const void* weight, long inputs, long outputs, const float* x, float* y, long y_row, long rows) {
    for (long o = 0; o < outputs; o += PANEL)
        for (long part = 0; part < PANEL; part += PART * LANES) {
            const T* w = (const T*)weight + o * inputs + part;
            long row = 0;
            for (; row + ROWS <= rows; row += ROWS)
                product_part<T, ROWS>(w, inputs, x + row * inputs, inputs, y + row * y_row + o + part, y_row);
            for (; row < rows; row++)
                product_part<T, 1>(w, inputs, x + row * inputs, inputs, y + row * y_row + o + part, y_row);
        }
}

// Root mean square normalisation (Zhang and Sennrich, 2019).
void normalise(const float* x, const float* weight, float epsilon, long size, float* y) {
    vec squares = {};
    for (long i = 0; i < size; i += LANES) squares += load(x + i) * load(x + i);
    float factor = 1.0f / sqrtf(fold<false>(squares) / size + epsilon);
    for (long i = 0; i < size; i += LANES) store(y + i, load(weight + i) * (load(x + i) * factor));
}

// Rotary positions (Su et al., 2021), the halves of a head as pairs.
void rotate(const float* x, const float* cosines, const float* sines, long dim, float* y) {
    for (long i = 0, half = dim / 2; i < half; i++) {
        float a = x[i], b = x[i + half];
        y[i] = a * cosines[i] - b * sines[i];
        y[i + half] = b * cosines[i + half] + a * sines[i + half];
    }
}

// output = softmax(query . keys * scale) . values for one head; `scores` has room for `count` numbers, full vectors.
void attend(const float* query, const float* keys, const float* values, long count, long dim, float scale,
            float* scores, float* output) {
    vec most = all(-INFINITY);
    for (long t = 0; t < count; t += LANES) {  // of LANES keys at once: sums of each, then the lanes of the sums
        vec sums[LANES], turned[LANES], score = {};
        const void* lines[LANES];
        for (int i = 0; i < LANES; i++) {
            const float* key = keys + (t + i < count ? t + i : count - 1) * dim;
            vec sum = {};
            for (long d = 0; d < dim; d += LANES) sum += load(query + d) * load(key + d);
            sums[i] = sum;
            lines[i] = &sums[i];
        }
        transpose(lines, 0, (uint32_t*)turned, LANES);
        for (int i = 0; i < LANES; i++) score += turned[i];
        score *= scale;
        for (long i = count - t; i < LANES; i++) score[i] = -INFINITY;
        store(scores + t, score);
        most = larger(most, score);
    }
    vec top = all(fold<true>(most)), whole = {};
    for (long t = 0; t < count; t += LANES) {
        vec weight = power_of_two((load(scores + t) - top) * LOG2E);
        for (long i = count - t; i < LANES; i++) weight[i] = 0.0f;
        store(scores + t, weight);
        whole += weight;
    }
    float share = 1.0f / fold<false>(whole);
    for (long d = 0; d < dim; d += 2 * LANES) {
        vec a[4] = {}, b[4] = {};
        long t = 0;
        for (; t + 4 <= count; t += 4)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const float* value = values + (t + i) * dim + d;
                a[i] += load(value) * scores[t + i];
                b[i] += load(value + LANES) * scores[t + i];
            }
        for (; t < count; t++) {
            a[0] += load(values + t * dim + d) * scores[t];
            b[0] += load(values + t * dim + d + LANES) * scores[t];
        }
        store(output + d, ((a[0] + a[1]) + (a[2] + a[3])) * share);
        store(output + d + LANES, ((b[0] + b[1]) + (b[2] + b[3])) * share);
    }
}

// gate = gate * sigmoid(gate) * up
void gate_with(float* gate, const float* up, long size) {
    for (long i = 0; i < size; i += LANES) {
        vec x = load(gate + i), zero = {};
        vec small = power_of_two((x > zero ? -x : x) * LOG2E);  // exp(-|x|)
        store(gate + i, x * ((x > zero ? all(1.0f) : small) / (small + 1.0f)) * load(up + i));
    }
}

template <class T>
int step(const Decoder& job, long begin, long rows) {
    const long hidden = job.hidden, dim = job.dim, wide = job.heads * dim, narrow = job.kv_heads * dim;
    const long qkv_row = up(wide + 2 * narrow, PANEL), inner_row = up(2 * job.inner, PANEL);
    const long hidden_row = up(hidden, PANEL), vocabulary_row = up(job.vocabulary, PANEL);
    const long widest = hidden > wide ? hidden : wide;
    const long sizes[] = {rows * hidden, rows * widest, rows * qkv_row, rows * hidden_row, rows * inner_row,
                          rows * job.inner, up(job.past + 1, LANES)};
    long total = 0;
    for (long size : sizes) total += up(size, 16);
    float* memory = (float*)aligned_alloc(64, total * sizeof(float));
    if (!memory) return 1;
    float *parts[7], *next = memory;
    for (int i = 0; i < 7; i++) parts[i] = next, next += up(sizes[i], 16);
    float *state = parts[0], *input = parts[1], *qkv = parts[2], *change = parts[3], *inner = parts[4],
          *gated = parts[5], *scores = parts[6];
    for (long row = 0; row < rows; row++)
        memcpy(state + row * hidden, job.embeddings + job.ids[begin + row] * hidden, hidden * sizeof(float));
    for (const DecoderLayer* layer = job.layers; layer < job.layers + job.layer_count; layer++) {
        for (long row = 0; row < rows; row++)
            normalise(state + row * hidden, layer->norm, job.epsilon, hidden, input + row * hidden);
        product<T>(layer->qkv, hidden, qkv_row, input, qkv, qkv_row, rows);
        for (long row = 0; row < rows; row++) {
            const float* cosines = job.cosines + job.positions[begin + row] * dim;
            const float* sines = job.sines + job.positions[begin + row] * dim;
            float* query = qkv + row * qkv_row;
            for (long head = 0; head < job.kv_heads; head++) {
                long place = (((begin + row) * job.kv_heads + head) * job.room + job.past) * dim;
                rotate(query + wide + head * dim, cosines, sines, dim, layer->keys + place);
                memcpy(layer->values + place, query + wide + narrow + head * dim, dim * sizeof(float));
            }
            for (long head = 0; head < job.heads; head++) {
                long kv_head = head / (job.heads / job.kv_heads), first = job.first[begin + row];
                long place = (((begin + row) * job.kv_heads + kv_head) * job.room + first) * dim;
                rotate(query + head * dim, cosines, sines, dim, query + head * dim);
                attend(query + head * dim, layer->keys + place, layer->values + place, job.past + 1 - first, dim,
                       job.scale, scores, input + row * wide + head * dim);
            }
        }
        product<T>(layer->output, wide, hidden_row, input, change, hidden_row, rows);
        for (long row = 0; row < rows; row++) {
            for (long i = 0; i < hidden; i++) state[row * hidden + i] += change[row * hidden_row + i];
            normalise(state + row * hidden, layer->after_norm, job.epsilon, hidden, input + row * hidden);
        }
        product<T>(layer->gate_up, hidden, inner_row, input, inner, inner_row, rows);
        for (long row = 0; row < rows; row++) {
            gate_with(inner + row * inner_row, inner + row * inner_row + job.inner, job.inner);
            memcpy(gated + row * job.inner, inner + row * inner_row, job.inner * sizeof(float));
        }
        product<T>(layer->down, job.inner, hidden_row, gated, change, hidden_row, rows);
        for (long row = 0; row < rows; row++)
            for (long i = 0; i < hidden; i++) state[row * hidden + i] += change[row * hidden_row + i];
    }
    for (long row = 0; row < rows; row++)
        normalise(state + row * hidden, job.norm, job.epsilon, hidden, input + row * hidden);
    product<T>(job.head, hidden, vocabulary_row, input, job.logits + begin * vocabulary_row, vocabulary_row, rows);
    free(memory);
    return 0;
}

}  // namespace

#define NAME_OF(set) decoder_##set
#define NAME(set) NAME_OF(set)

// Takes `rows` rows from `begin` on one step further. Returns 0; 1: not enough memory.
extern "C" int NAME(SET)(const Decoder* job, long begin, long rows) {
    return job->is_bf16 ? step<bf16>(*job, begin, rows) : step<float>(*job, begin, rows);
}
