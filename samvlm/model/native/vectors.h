// Vectors of LANES floats on one instruction set, by the extensions that GCC and Clang share.
#pragma once

#include <stdint.h>
#include <string.h>

#include "attention.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16  // floats of a vector
#define WIDE 4    // vectors of a block of keys: 6 x 4 sums and 4 operands fit into 32 registers
#elif defined(__AVX2__)
#define LANES 8
#define WIDE 2
#elif defined(__aarch64__)
#define LANES 4
#define WIDE 4
#else
#define LANES 4
#define WIDE 2
#endif

namespace {

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t int_vec __attribute__((vector_size(4 * LANES)));

inline vec load(const void* from) { return *(const loose_vec*)from; }
inline void store(float* to, vec value) { *(loose_vec*)to = value; }
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#if LANES == 16
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#endif
#endif
#endif

// to[i * step + j] = from[j][i] for i and j below LANES; all are units of 32 bits.
inline void transpose(const void* const* from, long offset, uint32_t* to, long step) {
#ifdef SHUFFLES
    vec lines[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) lines[i] = load((const uint32_t*)from[i] + offset);
#pragma GCC unroll 4
    for (int round = 1; round < LANES; round *= 2) {  // each brings another bit of the number to its place
        vec mixed[LANES];
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; i++) {
            mixed[2 * i] = __builtin_shufflevector(lines[i], lines[i + LANES / 2], LOW);
            mixed[2 * i + 1] = __builtin_shufflevector(lines[i], lines[i + LANES / 2], HIGH);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) lines[i] = mixed[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) *(loose_vec*)(to + i * step) = lines[i];
#else
    for (int j = 0; j < LANES; j++)
        for (int i = 0; i < LANES; i++) memcpy(to + i * step + j, (const uint32_t*)from[j] + offset + i, 4);
#endif
}

inline vec all(float value) { return value - vec{}; }
inline vec larger(vec a, vec b) { return a > b ? a : b; }

inline float bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

inline float read(const float* from) { return *from; }
inline float read(const bf16* from) { return bits_to_float((uint32_t)*from << 16); }
inline void write(float* to, float value) { *to = value; }
inline void write(bf16* to, float value) {  // to nearest, ties to even
    uint32_t bits;
    memcpy(&bits, &value, 4);
    *to = value != value ? 0x7fc0 : (bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// 2^x for x <= 0, relative error below 2e-7 (polynomial of Cephes' exp2f); ROUGH: below 8e-5 (minimax), a fiftieth of
// what bf16 leaves away.
template <bool ROUGH = false>
inline vec power_of_two(vec x) {
#if defined(__AVX512F__)
    vec whole = (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec part = x - whole;
#else
    x = x < -126.0f ? all(-126.0f) : x;  // what is no number stays none
    vec shifted = x + 12582912.0f;       // 1.5 * 2^23: the whole part stands in the last bits
    vec part = x - (shifted - 12582912.0f);
#endif
    vec p;
    if (ROUGH)
        p = (part * 5.517166493e-2f + 2.426111219e-1f) * part + 6.932609862e-1f;
    else {
        p = part * 1.535336188319500e-4f + 1.339887440266574e-3f;
        p = p * part + 9.618437357674640e-3f;
        p = p * part + 5.550332471162809e-2f;
        p = p * part + 2.402264791363012e-1f;
        p = p * part + 6.931472028550421e-1f;
    }
    p = p * part + (ROUGH ? 9.999280736e-1f : 1.0f);
#if defined(__AVX512F__)
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)whole);
#else
    return (vec)((int_vec)p + ((int_vec)shifted << 23));
#endif
}

template <bool MAX>
inline float fold(vec value) {
#if defined(__AVX512F__)
    return MAX ? _mm512_reduce_max_ps((__m512)value) : _mm512_reduce_add_ps((__m512)value);
#else
    float lanes[LANES];
    store(lanes, value);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] = MAX ? (lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half]) : lanes[i] + lanes[i + half];
    return lanes[0];
#endif
}

// Operands stand in units of 32 bits: a float, or two bf16 whose products are added. `PER` is their number.
struct Floats {
    static constexpr int PER = 1;
    static inline vec madd(vec sum, const uint32_t* a, vec b) { return sum + *(const float*)a * b; }
};
#if defined(__AVX512BF16__)
inline void round_to(bf16* to, vec value) {
    __m256bh half = _mm512_cvtneps_pbh((__m512)value);
    memcpy(to, &half, sizeof half);
}

struct Pairs {
    static constexpr int PER = 2;
    static inline vec madd(vec sum, const uint32_t* a, vec b) {
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(*(const int*)a), (__m512bh)b);
    }
};
#endif

}  // namespace
