// The layout of every structure that `tables.py` mirrors, as the compiler sees it; loading compares the two.

#pragma once
#include "step.h"

namespace cpu_step {

struct Field {
    const char *structure, *name;  // an empty name stands for the whole structure
    i64 offset, size;
};

#define WHOLE(S) {#S, "", 0, (i64)sizeof(S)}
#define FIELD(S, name) {#S, #name, (i64)__builtin_offsetof(S, name), (i64)sizeof(S::name)}

static const Field FIELDS[] = {
    WHOLE(Weight), FIELD(Weight, data), FIELD(Weight, scale), FIELD(Weight, bias), FIELD(Weight, rows),
    FIELD(Weight, cols), FIELD(Weight, kind), FIELD(Weight, panels),

    WHOLE(Mamba), FIELD(Mamba, in_proj), FIELD(Mamba, out_proj), FIELD(Mamba, taps), FIELD(Mamba, conv_bias),
    FIELD(Mamba, A), FIELD(Mamba, D), FIELD(Mamba, dt_bias), FIELD(Mamba, norm), FIELD(Mamba, heads),
    FIELD(Mamba, head_dim), FIELD(Mamba, groups), FIELD(Mamba, size), FIELD(Mamba, kernel), FIELD(Mamba, dt_min),
    FIELD(Mamba, dt_max), FIELD(Mamba, eps),

    WHOLE(Attention), FIELD(Attention, q), FIELD(Attention, k), FIELD(Attention, v), FIELD(Attention, o),
    FIELD(Attention, heads), FIELD(Attention, kv_heads), FIELD(Attention, head_dim),

    WHOLE(Experts), FIELD(Experts, gate), FIELD(Experts, fc1), FIELD(Experts, fc2), FIELD(Experts, shared_up),
    FIELD(Experts, shared_down), FIELD(Experts, up), FIELD(Experts, down), FIELD(Experts, correction),
    FIELD(Experts, experts), FIELD(Experts, top), FIELD(Experts, groups), FIELD(Experts, top_groups),
    FIELD(Experts, normed), FIELD(Experts, scale),

    WHOLE(Dense), FIELD(Dense, up), FIELD(Dense, down),

    WHOLE(Block), FIELD(Block, kind), FIELD(Block, norm), FIELD(Block, mamba), FIELD(Block, attention),
    FIELD(Block, experts), FIELD(Block, dense),

    WHOLE(State), FIELD(State, output), FIELD(State, conv), FIELD(State, ssm), FIELD(State, conv_stride),
    FIELD(State, ssm_stride), FIELD(State, window), FIELD(State, ssm_out), FIELD(State, convolved), FIELD(State, dt),
    FIELD(State, keys), FIELD(State, values), FIELD(State, capacity), FIELD(State, prefix_capacity),
    FIELD(State, prefix_forks), FIELD(State, prefix_keys), FIELD(State, prefix_values),

    WHOLE(Step), FIELD(Step, blocks), FIELD(Step, states), FIELD(Step, count), FIELD(Step, batch), FIELD(Step, time),
    FIELD(Step, hidden), FIELD(Step, input), FIELD(Step, output), FIELD(Step, norm), FIELD(Step, eps),
    FIELD(Step, length), FIELD(Step, prefix_length), FIELD(Step, valid), FIELD(Step, scratch), FIELD(Step, distinct),
    FIELD(Step, joined), FIELD(Step, input_norm), FIELD(Step, joined_norm), FIELD(Step, join),

    WHOLE(Piece), FIELD(Piece, data), FIELD(Piece, bytes),
};

#undef FIELD
#undef WHOLE

// The one entry point; the arguments are addresses and numbers, as `native.py` lists them.
inline void call(i64 command, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f) {
    if (command == 0) run(*(const Step*)a);
    if (command == 1) replay(*(const Mamba*)a, *(const State*)b, c, d, (const i64*)e, (float*)f);
    if (command == 2) {
        const Weight& w = *(const Weight*)a;
        multiply(w, {(const float*)b, w.cols, (float*)c, w.rows, d});
    }
    if (command == 3) *(unsigned long long*)c = checksum((const Piece*)a, b);
    if (command == 5) *(unsigned long long*)c = probe((const Piece*)a, b);
    if (command == 4) {
        *(const Field**)a = FIELDS;
        *(i64*)b = sizeof(FIELDS) / sizeof(Field);
    }
}

}  // namespace cpu_step
