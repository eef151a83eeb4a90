// Attention with SAM's decomposed relative positions (Li et al., "MViTv2", 2022) over windows or a whole grid, for one
// instruction set: compiled once for each (build.py), chosen at run time (dispatch.cpp).
//
// The logit of query (y, x) and key (y', x') is q.k * scale + q.Rh[y - y'] + q.Rw[x - x']. Keys are laid out in vectors
// of LANES neighbours of one image row, so that a vector's bias is a vector of column terms, the same for all rows,
// plus one number, its row's term: one addition an element, and no N x N bias anywhere. Softmax runs online over
// SPAN keys at a time (Milakov and Gimelshein, 2018), in fp32 whatever the type of the data.
#include "attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

namespace {

constexpr int ROWS = 6;              // queries of a group
constexpr int GROUPS = 8;            // groups that share a span of keys while it is in the cache
constexpr int SPAN = 512;            // keys of a span
constexpr float NEVER = -1e30f;      // the logit of a place that is no key
constexpr float LOG2E = 1.4426950408889634f;

// sums[r][w] += sum over units of a[r][unit] * b[unit][w]; `a` in rows of `a_row` units, `b` in rows of `b_row`.
template <class Op, int W>
inline void multiply(vec (&sums)[ROWS][W], const uint32_t* a, long a_row, const uint32_t* b, long b_row, long units) {
    for (long unit = 0; unit < units; unit++, b += b_row) {
        vec factors[W];
#pragma GCC unroll 4
        for (int w = 0; w < W; w++) factors[w] = load(b + w * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
            for (int w = 0; w < W; w++) sums[r][w] = Op::madd(sums[r][w], a + r * a_row + unit, factors[w]);
    }
}

// output[r][0 : W vectors] = output * fade[r] + weights . values
template <class Op, int W>
void add_values(float* output, long width, const float* fade, const uint32_t* weights, long weight_row,
                const uint32_t* values, long units) {
    vec sums[ROWS][W];
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < W; w++) sums[r][w] = load(output + r * width + w * LANES) * fade[r];
    multiply<Op, W>(sums, weights, weight_row, values, width, units);
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < W; w++) store(output + r * width + w * LANES, sums[r][w]);
}

inline long up(long number, long step) { return (number + step - 1) / step * step; }

// A rectangle of places that attend to each other, some of which may lie outside the image.
struct Window {
    long token;                    // of its first place
    long rows, columns;            // of its keys
    long inside_rows, inside_columns;  // of them in the image: these are its queries
    long row_step, column_step;    // in tokens
};

template <class T, class Op>
struct Worker {
    const Attention& job;
    long dim, units, width;        // of a head; in units; in floats, full vectors
    long chunks, row_chunks;       // vectors of a row of keys; of the row terms of a query
    long vectors, places;          // of all keys, full blocks; LANES times that
    float* memory;
    uint32_t *keys, *values, *queries, *weights;
    float *scores, *column_terms, *row_terms, *output, *plain_queries;
    long loaded = -1;              // the window and head whose keys are packed

    static long size_of(const Attention& job, long rows, long columns, long* parts) {
        long width = up(job.dim, LANES), places = up(rows * up(columns, LANES), LANES * WIDE);
        long sizes[] = {places * width / Op::PER,  // keys
                        places * width / Op::PER,  // values
                        Op::PER == 1 ? 0 : GROUPS * ROWS * job.dim / Op::PER,  // queries: floats stand in the last part
                        ROWS * SPAN,  // weights
                        ROWS * SPAN,  // scores
                        GROUPS * ROWS * up(columns, LANES),
                        GROUPS * ROWS * up(rows, LANES),
                        GROUPS * ROWS * (width + 2),
                        GROUPS * ROWS * job.dim};
        long total = 0;
        for (int i = 0; i < 9; i++) {
            parts[i] = total;
            total += up(sizes[i], 16);
        }
        return total;
    }

    Worker(const Attention& job, long rows, long columns) : job(job) {
        dim = job.dim, units = dim / Op::PER, width = up(dim, LANES);
        chunks = up(columns, LANES) / LANES, row_chunks = up(rows, LANES) / LANES;
        vectors = rows * chunks, places = vectors * LANES;
        long parts[9], total = size_of(job, rows, columns, parts);
        if (posix_memalign((void**)&memory, 64, total * sizeof(float))) {
            memory = nullptr;
            return;
        }
        uint32_t* start = (uint32_t*)memory;
        keys = start + parts[0], values = start + parts[1], queries = start + parts[2], weights = start + parts[3];
        scores = memory + parts[4], column_terms = memory + parts[5], row_terms = memory + parts[6];
        output = memory + parts[7], plain_queries = memory + parts[8];
        if (Op::PER == 1) queries = start + parts[8];
    }
    ~Worker() { free(memory); }

    const T* token(long batch, long number, int part, long head) const {
        const T* qkv = (const T*)job.qkv + (batch * job.height * job.width + number) * 3 * job.heads * dim;
        return qkv + (part * job.heads + head) * dim;
    }

    // Keys and values of a head in a window; a place outside the image has the projection's bias, as in SAM.
    void pack(const Window& window, long batch, long head) {
        static const T nothing[512] = {};
        const T* bias = (const T*)job.bias;
        const T* outside_key = bias ? bias + (job.heads + head) * dim : nothing;
        const T* outside_value = bias ? bias + (2 * job.heads + head) * dim : nothing;
        for (long v = 0; v < vectors; v++) {
            long row = v / chunks, first = v % chunks * LANES;
            const void *key[LANES], *value[LANES];
            for (long lane = 0; lane < LANES; lane++) {
                long column = first + lane;
                key[lane] = value[lane] = nothing;
                if (column >= window.columns) continue;
                if (row < window.inside_rows && column < window.inside_columns) {
                    long number = window.token + row * window.row_step + column * window.column_step;
                    key[lane] = token(batch, number, 1, head), value[lane] = token(batch, number, 2, head);
                } else
                    key[lane] = outside_key, value[lane] = outside_value;
            }
            uint32_t* to = keys + (v / WIDE * units * WIDE + v % WIDE) * LANES;
            long whole = sizeof(T) * Op::PER == 4 ? units / LANES * LANES : 0;
            for (long u = 0; u < whole; u += LANES) transpose(key, u, to + u * WIDE * LANES, WIDE * LANES);
            for (long u = whole; u < units; u++)
                for (long lane = 0; lane < LANES; lane++) put(to + u * WIDE * LANES + lane, (const T*)key[lane], u);
            for (long lane = 0; lane < LANES; lane += Op::PER) {
                uint32_t* line = values + (v * LANES + lane) / Op::PER * width;
                const T *even = (const T*)value[lane], *odd = (const T*)value[lane + Op::PER - 1];
                for (long d = 0; d < dim; d++) {
                    if (Op::PER == 1)
                        ((float*)line)[d] = read(even + d);
                    else
                        line[d] = pair(even[d], odd[d]);
                }
                for (long d = dim; d < width; d++) line[d] = 0;
            }
        }
    }

    static inline uint32_t pair(float, float) { return 0; }  // floats come one by one
    static inline uint32_t pair(bf16 even, bf16 odd) { return even | (uint32_t)odd << 16; }

    // Unit `u` of a head's vector.
    static inline void put(uint32_t* to, const T* from, long u) {
        if (Op::PER == 1) {
            float value = read(from + u);
            memcpy(to, &value, 4);
        } else
            memcpy(to, from + 2 * u, 4);
    }

    // terms[r][0 : n] of ROWS queries, times log2(e): query . table[d][start[r] + i]
    void relative(float* terms, long row, long count, long n, const float* query, const float* table, long table_row,
                  const long* start) {
        for (long c = 0; c < count; c++) {
            vec sums[ROWS] = {};
            for (long d = 0; d < dim; d++)
#pragma GCC unroll 6
                for (int r = 0; r < ROWS; r++)
                    sums[r] += query[r * dim + d] * load(table + d * table_row + start[r] + c * LANES);
            for (int r = 0; r < ROWS; r++) store(terms + r * row + c * LANES, sums[r] * LOG2E);
        }
        for (int r = 0; r < ROWS; r++)
            for (long i = n; i < row; i++) terms[r * row + i] = NEVER;
    }

    // Queries `from` to `to` (not included) of a window: GROUPS * ROWS at the most.
    void attend(const Window& window, long batch, long head, long from, long to) {
        const long column_row = chunks * LANES, row_row = row_chunks * LANES;
        const long groups = (to - from + ROWS - 1) / ROWS;
        float* greatest = output + GROUPS * ROWS * width;
        float* total = greatest + GROUPS * ROWS;
        for (long group = 0; group < groups; group++) {
            long start_row[ROWS], start_column[ROWS];
            for (int r = 0; r < ROWS; r++) {
                long number = from + group * ROWS + r, slot = group * ROWS + r;
                number = number < to ? number : to - 1;  // the last group may be short: its last query again
                long y = number / window.inside_columns, x = number % window.inside_columns;
                const T* query = token(batch, window.token + y * window.row_step + x * window.column_step, 0, head);
                for (long d = 0; d < dim; d++) plain_queries[slot * dim + d] = read(query + d);
                if (Op::PER == 2) memcpy(queries + slot * units, query, dim * sizeof(T));
                start_row[r] = job.row_middle - y, start_column[r] = job.column_middle - x;
                greatest[slot] = NEVER, total[slot] = 0;
            }
            const float* query = plain_queries + group * ROWS * dim;
            relative(column_terms + group * ROWS * column_row, column_row, chunks, window.columns, query,
                     job.column_table, job.column_table_row, start_column);
            relative(row_terms + group * ROWS * row_row, row_row, row_chunks, window.rows, query, job.row_table,
                     job.row_table_row, start_row);
        }
        memset(output, 0, GROUPS * ROWS * width * sizeof(float));
        for (long first = 0; first < places; first += SPAN) {
            long count = places - first < SPAN ? places - first : SPAN;
            for (long group = 0; group < groups; group++)
                attend_span(group, first, count, column_row, row_row, greatest, total);
        }
        for (long number = from; number < to; number++) {
            long slot = number - from, y = number / window.inside_columns, x = number % window.inside_columns;
            long place = window.token + y * window.row_step + x * window.column_step;
            T* line = (T*)job.output + ((batch * job.height * job.width + place) * job.heads + head) * dim;
            write_line(line, output + slot * width, 1.0f / total[slot]);
            if (job.normaliser)
                job.normaliser[(batch * job.heads + head) * job.height * job.width + place] =
                    greatest[slot] / LOG2E + logf(total[slot]);
        }
    }

    // The logits of a group of queries and W vectors of keys, times log2(e).
    template <int W>
    inline void add_logits(float* to, long group, long v, const float* columns, long column_row, const float* rows,
                           long row_row) {
        const vec scale = all(job.scale * LOG2E);
        vec sums[ROWS][W] = {};
        multiply<Op, W>(sums, queries + group * ROWS * units, units, keys + v * units * LANES, WIDE * LANES, units);
        for (int w = 0; w < W; w++) {
            long row = (v + w) / chunks, chunk = (v + w) % chunks;
            for (int r = 0; r < ROWS; r++) {
                vec bias = load(columns + r * column_row + chunk * LANES) + rows[r * row_row + row];
                store(to + r * SPAN + w * LANES, sums[r][w] * scale + bias);
            }
        }
    }

    __attribute__((noinline)) void add_last_logits(long left, float* to, long group, long v, const float* columns,
                                                   long column_row, const float* rows, long row_row) {
        if (left == 3) add_logits<3>(to, group, v, columns, column_row, rows, row_row);
        if (left == 2) add_logits<2>(to, group, v, columns, column_row, rows, row_row);
        if (left == 1) add_logits<1>(to, group, v, columns, column_row, rows, row_row);
    }

    // One group of queries and one span of keys.
    void attend_span(long group, long first, long count, long column_row, long row_row, float* greatest, float* total) {
        const float* columns = column_terms + group * ROWS * column_row;
        const float* rows = row_terms + group * ROWS * row_row;
        for (long v = first / LANES; v < (first + count) / LANES; v += WIDE) {
            long left = (first + count) / LANES - v;
            float* to = scores + v * LANES - first;
            if (left >= WIDE) add_logits<WIDE>(to, group, v, columns, column_row, rows, row_row);
            else add_last_logits(left, to, group, v, columns, column_row, rows, row_row);
        }
        float fade[LANES < ROWS ? 2 * LANES : LANES] = {};
        float *best = greatest + group * ROWS, *sums = total + group * ROWS;
        for (int r = 0; r < ROWS; r++) {
            float* line = scores + r * SPAN;
            vec top = load(line);
            for (long i = LANES; i < count; i += LANES) top = larger(top, load(line + i));
            float before = best[r], now = fold<true>(top);
            best[r] = now = now > before ? now : before;
            fade[r] = before - now;
        }
        for (int r = 0; r < ROWS; r += LANES) store(fade + r, power_of_two(load(fade + r)));
        for (int r = 0; r < ROWS; r++) {
            vec sum = {};
            for (long i = 0; i < count; i += LANES) {
                vec weight = power_of_two<Op::PER == 2>(load(scores + r * SPAN + i) - best[r]);
                sum += weight;
                keep(r, i, weight);
            }
            sums[r] = sums[r] * fade[r] + fold<false>(sum);
        }
        float* out = output + group * ROWS * width;
        const uint32_t* from = values + first / Op::PER * width;
        const long n = count / Op::PER, row = SPAN / Op::PER;
        for (long d = 0; d < width;) {
            long left = (width - d) / LANES, passes = (left + WIDE - 1) / WIDE, take = (left + passes - 1) / passes;
            if (take == 4) add_values<Op, 4>(out + d, width, fade, weights, row, from + d, n);
            if (take == 3) add_values<Op, 3>(out + d, width, fade, weights, row, from + d, n);
            if (take == 2) add_values<Op, 2>(out + d, width, fade, weights, row, from + d, n);
            if (take == 1) add_values<Op, 1>(out + d, width, fade, weights, row, from + d, n);
            d += take * LANES;
        }
    }

    // to[0 : dim] = from[0 : dim] * factor
    inline void write_line(T* to, const float* from, float factor) {
        long d = 0;
#if defined(__AVX512BF16__)
        if (Op::PER == 2)
            for (; d + LANES <= dim; d += LANES) round_to((bf16*)to + d, load(from + d) * factor);
#endif
        for (; d < dim; d++) write(to + d, from[d] * factor);
    }

    inline void keep(int r, long i, vec weight) {
#if defined(__AVX512BF16__)
        if (Op::PER == 2) return round_to((bf16*)weights + r * SPAN + i, weight);
#endif
        store((float*)weights + r * SPAN + i, weight);
    }
};

template <class T, class Op>
int work(const Attention& job) {
    long side = job.window ? job.window : 0;
    long down = side ? (job.height + side - 1) / side : 1, across = side ? (job.width + side - 1) / side : 1;
    long rows = side ? side : job.transposed ? job.width : job.height;
    long columns = side ? side : job.transposed ? job.height : job.width;
    Worker<T, Op> worker(job, rows, columns);
    if (!worker.memory) return 1;
    const long per_head = down * across * job.splits, tasks = job.batch * job.heads * per_head;
    for (;;) {
        long task = __atomic_fetch_add(job.next, 1, __ATOMIC_RELAXED);
        if (task >= tasks) return 0;
        // Of (batch, window, head): the heads of a place lie side by side in memory.
        long split = task % job.splits, number = task / job.splits, head = number % job.heads;
        long window_number = number / job.heads % (down * across), batch = number / job.heads / (down * across);
        Window window;
        if (side) {
            long top = window_number / across * side, left = window_number % across * side;
            long below = job.height - top, right = job.width - left;
            window = {top * job.width + left, side, side, below < side ? below : side, right < side ? right : side,
                      job.width, 1};
        } else if (job.transposed)
            window = {0, rows, columns, rows, columns, 1, job.width};
        else
            window = {0, rows, columns, rows, columns, job.width, 1};
        if (worker.loaded != number) worker.pack(window, batch, head);
        worker.loaded = number;
        long queries = window.inside_rows * window.inside_columns, tile = GROUPS * ROWS;
        long tiles = (queries + tile - 1) / tile;
        for (long i = tiles * split / job.splits; i < tiles * (split + 1) / job.splits; i++)
            worker.attend(window, batch, head, i * tile, (i + 1) * tile < queries ? (i + 1) * tile : queries);
    }
}

}  // namespace

#define NAME2(set) attention_##set
#define NAME(set) NAME2(set)

// Takes tasks until none is left; returns 0, or 1 where memory was short.
extern "C" int NAME(SET)(const Attention* job) {
    if (!job->is_bf16) return work<float, Floats>(*job);
#if defined(__AVX512BF16__)
    return work<bf16, Pairs>(*job);
#else
    return work<bf16, Floats>(*job);
#endif
}
