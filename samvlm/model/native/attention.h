// What attention.cpp (one instruction set) and dispatch.cpp (all of them, and Python) agree on.
#pragma once

#include <stdint.h>

typedef uint16_t bf16;

#define VERSION 4  // of what follows and of decoder.h; native_attention.py has the same, and uses no library of another

struct Attention {
    const void* qkv;            // (batch, height * width, 3, heads, dim), float or bf16
    const void* bias;           // (3, heads, dim) of the same type, what a place outside the image has; or null
    void* output;               // (batch, height * width, heads, dim)
    float* normaliser;          // (batch, heads, height * width), each query's logsumexp; or null
    const float* row_table;     // (dim, row_table_row): [d][row_middle - y + y'] is for query row y and key row y'
    const float* column_table;  // (dim, column_table_row), the same for columns; both 16 floats longer than needed
    long row_middle, row_table_row, column_middle, column_table_row;
    long batch, height, width, heads, dim;
    long window;                // side of the windows; 0: the whole grid
    long transposed;            // whole grid: key vectors run down the image's columns, "row" means column
    long splits;                // tasks a head and window is cut into
    long is_bf16;
    float scale;
    long* next;                 // the next task, shared by all threads
};
