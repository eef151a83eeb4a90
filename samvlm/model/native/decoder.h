// What decoder.cpp (one instruction set) and dispatch.cpp (all of them, and Python) agree on; versions: attention.h.
#pragma once

#include "attention.h"

#define PANEL 64  // outputs of a weight that stand together: (outputs / PANEL, inputs, PANEL), outputs filled up by zeros

struct DecoderLayer {
    const float* norm;        // (hidden), before the attention
    const float* after_norm;  // (hidden), before the MLP
    const void* qkv;          // heads * dim + 2 * kv_heads * dim outputs: float, or bf16 of the same values
    const void* output;       // hidden outputs
    const void* gate_up;      // 2 * inner outputs
    const void* down;         // hidden outputs
    float* keys;              // (rows, kv_heads, room, dim)
    float* values;
};

struct Decoder {
    const DecoderLayer* layers;
    const float* embeddings;  // (vocabulary, hidden)
    const float* norm;        // (hidden)
    const void* head;         // vocabulary outputs
    const float* cosines;     // (positions, dim)
    const float* sines;
    long layer_count, hidden, heads, kv_heads, dim, inner, vocabulary, is_bf16;
    float epsilon, scale;
    long rows, past, room;    // past: keys so far, the new one not among them
    const long* ids;          // (rows)
    const long* positions;    // (rows)
    const long* first;        // (rows) the first key of a row that is no padding
    float* logits;            // (rows, vocabulary filled up to PANEL)
};
