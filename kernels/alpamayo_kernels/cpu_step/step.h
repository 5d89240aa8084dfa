// A few tokens of a few sequences through all blocks of a hybrid model, on one core.
//
// The numbers are those of the model's general path up to rounding. States are read from one place and written to
// another, so that a snapshot stays valid. `tables.py` mirrors and fills the structures; `layout.h` holds it to them.

#pragma once
#include "vectors.h"

namespace cpu_step {

struct Mamba {
    Weight in_proj, out_proj;
    const float *taps, *conv_bias, *A, *D, *dt_bias, *norm;  // taps [kernel, channels]
    i64 heads, head_dim, groups, size, kernel;
    float dt_min, dt_max, eps;
};

struct Attention {
    Weight q, k, v, o;
    i64 heads, kv_heads, head_dim;
};

struct Experts {
    Weight gate, fc1, fc2, shared_up, shared_down, up, down;  // `up` and `down` are those of expert 0
    const float* correction;
    i64 experts, top, groups, top_groups, normed;
    float scale;
};

struct Dense {
    Weight up, down;
};

struct Block {
    i64 kind;  // the pattern's letter
    const float* norm;
    Mamba mamba;
    Attention attention;
    Experts experts;
    Dense dense;
};

// The state of one block: a Mamba-2 block's before and after, or an attention block's slots; and where its output
struct State {
    float* output;  // [batch * time, hidden]
    const float *conv, *ssm;
    i64 conv_stride, ssm_stride;  // from one sequence to the next
    float *window, *ssm_out;      // [batch, kernel - 1 + time, channels], [batch, heads, head_dim, size]
    float *convolved, *dt;        // [batch, time, channels], [batch, time, heads]
    float *keys, *values;         // [batch, kv_heads, capacity, head_dim]
    i64 capacity, prefix_capacity, prefix_forks;
    const float *prefix_keys, *prefix_values;
};

struct Step {
    const Block* blocks;
    const State* states;
    i64 count, batch, time, hidden;
    const float* input;  // [batch * time, hidden]
    float* output;       // the same, after the last norm
    const float* norm;
    float eps;
    i64 length, prefix_length;   // slots in use
    const unsigned char* valid;  // [batch, prefix_length + length], or null
    float* scratch;
    i64* distinct;  // is increased by the number of experts that were read
    // In front of a multi-token-prediction block: x = join [norm(input) | norm(joined)].
    const float *joined, *input_norm, *joined_norm;
    Weight join;
};

inline void rms_norm(const float* x, const float* weight, float eps, i64 n, float* y) {
    const float scale = 1.0f / sqrtf(dot(x, x, n) / n + eps);
    for (i64 i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
}

// Scratch memory is one piece; passing it by value returns what a callee took.
struct Scratch {
    float* next;
    float* take(i64 n) {
        float* p = next;
        next += (n + LANES - 1) / LANES * LANES;
        return p;
    }
};

inline void convolve(const Mamba& m, const State& s, const Step& step, const float* projected, i64 width) {
    const i64 inner = m.heads * m.head_dim, channels = inner + 2 * m.groups * m.size, past = m.kernel - 1;
    for (i64 b = 0; b < step.batch; b++) {
        float* window = s.window + b * (past + step.time) * channels;
        __builtin_memcpy(window, s.conv + b * s.conv_stride, past * channels * 4);
        for (i64 t = 0; t < step.time; t++) {
            const float* row = projected + (b * step.time + t) * width + inner;
            __builtin_memcpy(window + (past + t) * channels, row, channels * 4);
            float* y = s.convolved + (b * step.time + t) * channels;
            i64 c = 0;
            for (; c + LANES <= channels; c += LANES) {
                Vec total = m.conv_bias ? load(m.conv_bias + c) : Vec{};
                for (i64 k = 0; k < m.kernel; k++)
                    total += load(m.taps + k * channels + c) * load(window + (t + k) * channels + c);
                store(y + c, silu(total));
            }
            for (; c < channels; c++) {
                float total = m.conv_bias ? m.conv_bias[c] : 0.0f;
                for (i64 k = 0; k < m.kernel; k++) total += m.taps[k * channels + c] * window[(t + k) * channels + c];
                y[c] = silu(total);
            }
        }
    }
}

// 16 heads at a time; those beyond the last are read as zero and not written.
inline Vec load_some(const float* p, i64 n) {
    if (n >= LANES) return load(p);
    float some[LANES] = {};
    __builtin_memcpy(some, p, n * 4);
    return load(some);
}

inline void store_some(float* p, Vec v, i64 n) {
    if (n >= LANES) return store(p, v);
    float some[LANES];
    store(some, v);
    __builtin_memcpy(p, some, n * 4);
}

inline void discretise(const Mamba& m, const State& s, const Step& step, const float* projected, i64 width) {
    for (i64 r = 0; r < step.batch * step.time; r++)
        for (i64 h = 0; h < m.heads; h += LANES) {
            const i64 n = m.heads - h;
            Vec dt = softplus(load_some(projected + r * width + width - m.heads + h, n) + load_some(m.dt_bias + h, n));
            dt = dt < m.dt_min ? splat(m.dt_min) : dt;
            dt = dt > m.dt_max ? splat(m.dt_max) : dt;
            store_some(s.dt + r * m.heads + h, dt, n);
        }
}

inline void decays(const Mamba& m, const float* dt, i64 time, float* decay) {
    for (i64 t = 0; t < time; t++)
        for (i64 h = 0; h < m.heads; h += LANES) {
            const i64 n = m.heads - h, at = t * m.heads + h;
            store_some(decay + at, exponential(load_some(dt + at, n) * load_some(m.A + h, n)), n);
        }
}

// 16 (or fewer) rows of a state through one token: state <- decay old + u B, y += state C; `C` null leaves out y.
template <bool all>
inline void recur(const float* old, float* state, i64 some, i64 size, float decay, const float* u, const float* B,
                  const float* C, float* y) {
    const i64 rows = all ? LANES : some;
    Vec total[LANES] = {};
    float rest[LANES] = {};
    i64 n = 0;
    for (; n + LANES <= size; n += LANES) {
        const Vec b = load(B + n), c = C ? load(C + n) : Vec{};
        for (i64 r = 0; r < rows; r++) {
            const Vec s = load(old + r * size + n) * decay + u[r] * b;
            store(state + r * size + n, s);
            total[r] += s * c;
        }
    }
    for (; n < size; n++)
        for (i64 r = 0; r < rows; r++) {
            state[r * size + n] = old[r * size + n] * decay + u[r] * B[n];
            if (C) rest[r] += state[r * size + n] * C[n];
        }
    if (!C) return;
    store_some(y, load_some(y, rows) + sums(total) + load(rest), rows);
}

// All states of one sequence over its first `time` tokens; y [time, heads, head_dim] is added to, if there is one.
inline void scan(const Mamba& m, const float* old, float* state, const float* convolved, const float* dt, i64 time,
                 float* y, float* decay) {
    const i64 inner = m.heads * m.head_dim, channels = inner + 2 * m.groups * m.size;
    if (!time) __builtin_memcpy(state, old, inner * m.size * 4);
    decays(m, dt, time, decay);
    for (i64 h = 0; h < m.heads; h++) {
        const i64 B = inner + h / (m.heads / m.groups) * m.size, C = B + m.groups * m.size;
        for (i64 p = 0; p < m.head_dim; p += LANES) {
            const i64 i = h * m.head_dim + p, rows = m.head_dim - p < LANES ? m.head_dim - p : LANES;
            for (i64 t = 0; t < time; t++) {
                const float* now = convolved + t * channels;
                const float* from = (t ? state : old) + i * m.size;
                const float* c = y ? now + C : nullptr;
                const float d = decay[t * m.heads + h];
                float u[LANES], *out = y ? y + t * inner + i : nullptr;
                store(u, load_some(now + i, rows) * dt[t * m.heads + h]);
                if (rows == LANES) {
                    recur<true>(from, state + i * m.size, rows, m.size, d, u, now + B, c, out);
                } else {
                    recur<false>(from, state + i * m.size, rows, m.size, d, u, now + B, c, out);
                }
            }
        }
    }
}

inline void gate_and_norm(const Mamba& m, float* y, const float* z) {
    const i64 width = m.heads * m.head_dim / m.groups;
    for (i64 g = 0; g < m.groups; g++) {
        float* part = y + g * width;
        i64 i = 0;
        for (; i + LANES <= width; i += LANES) store(part + i, load(part + i) * silu(load(z + g * width + i)));
        for (; i < width; i++) part[i] *= silu(z[g * width + i]);
        rms_norm(part, m.norm + g * width, m.eps, width, part);
    }
}

inline void mamba(const Mamba& m, const State& s, const Step& step, const float* h, float* x, Scratch scratch) {
    const i64 rows = step.batch * step.time, width = m.in_proj.rows, inner = m.heads * m.head_dim;
    const i64 channels = inner + 2 * m.groups * m.size;
    float *projected = scratch.take(rows * width), *y = scratch.take(rows * inner);
    float* decay = scratch.take(step.time * m.heads);
    multiply(m.in_proj, {h, step.hidden, projected, width, rows});
    convolve(m, s, step, projected, width);
    discretise(m, s, step, projected, width);
    for (i64 r = 0; r < rows; r++)
        for (i64 h = 0; h < m.heads; h++)
            for (i64 i = h * m.head_dim; i < (h + 1) * m.head_dim; i++)
                y[r * inner + i] = s.convolved[r * channels + i] * m.D[h];
    for (i64 b = 0; b < step.batch; b++) {
        const i64 first = b * step.time;
        scan(m, s.ssm + b * s.ssm_stride, s.ssm_out + b * inner * m.size, s.convolved + first * channels,
             s.dt + first * m.heads, step.time, y + first * inner, decay);
    }
    for (i64 r = 0; r < rows; r++) gate_and_norm(m, y + r * inner, projected + r * width);
    multiply(m.out_proj, {y, inner, x, step.hidden, rows}, Then::Add);
}

// Softmax attention of one query taken over blocks of slots: running maximum, sum and weighted values.
struct Query {
    const float* q;
    float* y;
    float top, total;
};

constexpr i64 SLOTS = 64;
constexpr float NOTHING = -1e30f;  // in place of minus infinity, whose differences would be NaN

// Products of a query with up to 16 keys.
inline Vec score(const float* q, const float* keys, i64 count, i64 dim) {
    Vec v[LANES] = {};
    float rest[LANES] = {};
    for (i64 i = 0; i < LANES && i < count; i++) {
        i64 d = 0;
        for (; d + LANES <= dim; d += LANES) v[i] += load(q + d) * load(keys + i * dim + d);
        for (; d < dim; d++) rest[i] += q[d] * keys[i * dim + d];
    }
    return sums(v) + load(rest);
}

inline void attend(Query& query, const float* keys, const float* values, i64 slots, i64 dim, float scale,
                   const unsigned char* valid) {
    float weight[SLOTS];
    Vec top = splat(query.top);
    for (i64 i = 0; i < SLOTS; i += LANES) {
        Vec w = score(query.q, keys + i * dim, slots - i, dim) * scale;
        for (int j = 0; j < LANES; j++)
            if (i + j >= slots || (valid && !valid[i + j])) w[j] = NOTHING;
        store(weight + i, w);
        top = largest(top, w);
    }
    float most = top[0];
    for (int i = 1; i < LANES; i++) most = top[i] > most ? top[i] : most;
    if (most <= NOTHING) return;
    const float shrink = exponential(query.top - most);
    Vec total = {};
    for (i64 i = 0; i < SLOTS; i += LANES) {
        const Vec w = load(weight + i);
        const Vec e = w <= NOTHING ? Vec{} : exponential(w - most);
        store(weight + i, e);
        total += e;
    }
    query.total = query.total * shrink + sum(total);
    query.top = most;
    i64 d = 0;
    for (; d + 4 * LANES <= dim; d += 4 * LANES) {
        Vec y[4];
        for (int j = 0; j < 4; j++) y[j] = load(query.y + d + j * LANES) * shrink;
        for (i64 i = 0; i < slots; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) y[j] += weight[i] * load(values + i * dim + d + j * LANES);
        for (int j = 0; j < 4; j++) store(query.y + d + j * LANES, y[j]);
    }
    for (; d + LANES <= dim; d += LANES) {
        Vec y = load(query.y + d) * shrink;
        for (i64 i = 0; i < slots; i++) y += weight[i] * load(values + i * dim + d);
        store(query.y + d, y);
    }
    for (; d < dim; d++) {
        float y = query.y[d] * shrink;
        for (i64 i = 0; i < slots; i++) y += weight[i] * values[i * dim + d];
        query.y[d] = y;
    }
}

// The queries of one group of heads at all times, over slots [0, until + t] of one piece of memory.
inline void attend_all(Query* queries, i64 group, i64 time, const float* keys, const float* values, i64 until, bool grows,
                       i64 dim, float scale, const unsigned char* valid) {
    const i64 end = until + (grows ? time : 0);
    for (i64 start = 0; start < end; start += SLOTS)
        for (i64 t = 0; t < time; t++) {
            const i64 last = grows ? until + t + 1 : until;
            const i64 slots = last - start < SLOTS ? last - start : SLOTS;
            if (slots <= 0) continue;
            unsigned char seen[SLOTS];
            if (valid)
                for (i64 i = 0; i < slots; i++) seen[i] = start + i < until ? valid[start + i] : 1;
            for (i64 g = 0; g < group; g++)
                attend(queries[t * group + g], keys + start * dim, values + start * dim, slots, dim, scale,
                       valid ? seen : nullptr);
        }
}

inline void attention(const Attention& a, const State& s, const Step& step, const float* h, float* x, Scratch scratch) {
    const i64 rows = step.batch * step.time, dim = a.head_dim, group = a.heads / a.kv_heads;
    float *q = scratch.take(rows * a.heads * dim), *y = scratch.take(rows * a.heads * dim);
    float *k = scratch.take(rows * a.kv_heads * dim), *v = scratch.take(rows * a.kv_heads * dim);
    Query* queries = (Query*)scratch.take(step.time * group * sizeof(Query) / 4);
    multiply(a.q, {h, step.hidden, q, a.heads * dim, rows});
    multiply(a.k, {h, step.hidden, k, a.kv_heads * dim, rows});
    multiply(a.v, {h, step.hidden, v, a.kv_heads * dim, rows});
    __builtin_memset(y, 0, rows * a.heads * dim * 4);
    const float scale = 1.0f / sqrtf((float)dim);
    for (i64 b = 0; b < step.batch; b++)
        for (i64 j = 0; j < a.kv_heads; j++) {
            const i64 slot = ((b * a.kv_heads + j) * s.capacity + step.length) * dim;
            for (i64 t = 0; t < step.time; t++) {
                const i64 row = (b * step.time + t) * a.kv_heads + j;
                __builtin_memcpy(s.keys + slot + t * dim, k + row * dim, dim * 4);
                __builtin_memcpy(s.values + slot + t * dim, v + row * dim, dim * 4);
                for (i64 g = 0; g < group; g++) {
                    const i64 head = (b * step.time + t) * a.heads + j * group + g;
                    queries[t * group + g] = {q + head * dim, y + head * dim, NOTHING, 0.0f};
                }
            }
            const unsigned char* valid = step.valid ? step.valid + b * (step.prefix_length + step.length) : nullptr;
            if (step.prefix_length) {
                const i64 at = (b / s.prefix_forks * a.kv_heads + j) * s.prefix_capacity * dim;
                attend_all(queries, group, step.time, s.prefix_keys + at, s.prefix_values + at, step.prefix_length, false,
                           dim, scale, valid);
            }
            const i64 at = (b * a.kv_heads + j) * s.capacity * dim;
            attend_all(queries, group, step.time, s.keys + at, s.values + at, step.length, true, dim, scale,
                       valid ? valid + step.prefix_length : nullptr);
            for (i64 i = 0; i < step.time * group; i++)
                for (i64 d = 0; d < dim; d++) queries[i].y[d] /= queries[i].total;
        }
    multiply(a.o, {y, a.heads * dim, x, step.hidden, rows}, Then::Add);
}

// The place of the largest number, which is then taken out; what is not a number is larger than any, as in PyTorch.
inline i64 take_largest(float* values, i64 n) {
    i64 best = 0;
    for (i64 i = 1; i < n; i++)
        if (values[best] == values[best] && !(values[i] <= values[best])) best = i;
    values[best] = -__builtin_inff();
    return best;
}

// Keep only the best groups of experts; the score of a group is the sum of its two best.
inline void limit_to_groups(const Experts& e, float* choice, Scratch scratch) {
    const i64 size = e.experts / e.groups;
    float *copy = scratch.take(size), *score = scratch.take(e.groups);
    for (i64 g = 0; g < e.groups; g++) {
        __builtin_memcpy(copy, choice + g * size, size * 4);
        score[g] = 0.0f;
        for (i64 i = 0; i < 2 && i < size; i++) {
            const float* values = choice + g * size;
            score[g] += values[take_largest(copy, size)];
        }
    }
    for (i64 i = 0; i < e.top_groups; i++) take_largest(score, e.groups);
    for (i64 g = 0; g < e.groups; g++)
        if (score[g] != -__builtin_inff())
            for (i64 i = 0; i < size; i++) choice[g * size + i] = -__builtin_inff();
}

// Chosen experts [top] of one token and their weights, from router logits, which become scores.
inline void route(const Experts& e, float* scores, int* chosen, float* weights, Scratch scratch) {
    float* choice = scratch.take(e.experts);
    for (i64 i = 0; i < e.experts; i++) {
        scores[i] = 1.0f / (1.0f + exponential(-scores[i]));
        choice[i] = scores[i] + e.correction[i];
    }
    if (e.groups > 1) limit_to_groups(e, choice, scratch);
    float total = 0.0f;
    for (i64 k = 0; k < e.top; k++) {
        chosen[k] = (int)take_largest(choice, e.experts);
        weights[k] = scores[chosen[k]];
        total += weights[k];
    }
    const float factor = e.normed ? e.scale / (total + 1e-20f) : e.scale;
    for (i64 k = 0; k < e.top; k++) weights[k] *= factor;
}

inline Weight expert_of(const Weight& first, i64 index) {
    const i64 bytes = first.kind == 0 ? 4 : first.kind == 1 ? 2 : 1;
    Weight w = first;
    w.data = (const char*)first.data + index * ((first.rows + PANEL - 1) / PANEL * PANEL) * first.cols * bytes;
    if (first.scale) w.scale = first.scale + index * first.rows;
    return w;
}

inline void mixture(const Experts& e, const Step& step, const float* h, float* x, Scratch scratch) {
    const i64 rows = step.batch * step.time, width = e.up.cols, inner = e.up.rows;
    float *scores = scratch.take(rows * e.experts), *weights = scratch.take(rows * e.top), *mixed = x;
    int *chosen = (int*)scratch.take(rows * e.top), *tokens = (int*)scratch.take(rows);
    float *gains = scratch.take(rows), *hidden = scratch.take(rows * inner);
    float* shared = scratch.take(rows * e.shared_up.rows);
    const float* v = h;
    multiply(e.gate, {h, step.hidden, scores, e.experts, rows});
    for (i64 r = 0; r < rows; r++) route(e, scores + r * e.experts, chosen + r * e.top, weights + r * e.top, scratch);
    if (e.fc1.data) {
        float* latent = scratch.take(rows * width);
        multiply(e.fc1, {h, step.hidden, latent, width, rows});
        v = latent;
        mixed = scratch.take(rows * width);
        __builtin_memset(mixed, 0, rows * width * 4);
    }
    for (i64 expert = 0; expert < e.experts; expert++) {
        i64 count = 0;
        for (i64 i = 0; i < rows * e.top; i++)
            if (chosen[i] == expert) {
                tokens[count] = (int)(i / e.top);
                gains[count++] = weights[i];
            }
        if (!count) continue;
        ++*step.distinct;
        Rows up = {v, width, hidden, inner, count};
        up.from = tokens;
        up.gain = gains;
        multiply(expert_of(e.up, expert), up, Then::SquaredReLU);
        Rows down = {hidden, inner, mixed, width, count};
        down.to = tokens;
        multiply(expert_of(e.down, expert), down, Then::Add);
    }
    if (e.fc2.data) multiply(e.fc2, {mixed, width, x, step.hidden, rows}, Then::Add);
    multiply(e.shared_up, {h, step.hidden, shared, e.shared_up.rows, rows}, Then::SquaredReLU);
    multiply(e.shared_down, {shared, e.shared_up.rows, x, step.hidden, rows}, Then::Add);
}

inline void dense(const Dense& d, const Step& step, const float* h, float* x, Scratch scratch) {
    const i64 rows = step.batch * step.time;
    float* inner = scratch.take(rows * d.up.rows);
    multiply(d.up, {h, step.hidden, inner, d.up.rows, rows}, Then::SquaredReLU);
    multiply(d.down, {inner, d.up.rows, x, step.hidden, rows}, Then::Add);
}

inline void join(const Step& step, float* x, Scratch scratch) {
    const i64 rows = step.batch * step.time, d = step.hidden;
    float* pair = scratch.take(rows * 2 * d);
    for (i64 r = 0; r < rows; r++) {
        rms_norm(step.input + r * d, step.input_norm, step.eps, d, pair + r * 2 * d);
        rms_norm(step.joined + r * d, step.joined_norm, step.eps, d, pair + r * 2 * d + d);
    }
    multiply(step.join, {pair, 2 * d, x, d, rows});
}

inline void run(const Step& step) {
    const i64 rows = step.batch * step.time, d = step.hidden;
    Scratch scratch = {step.scratch};
    float *x = scratch.take(rows * d), *h = scratch.take(rows * d);
    if (step.joined) {
        join(step, x, scratch);
    } else {
        __builtin_memcpy(x, step.input, rows * d * 4);
    }
    for (i64 i = 0; i < step.count; i++) {
        const Block& block = step.blocks[i];
        for (i64 r = 0; r < rows; r++) rms_norm(x + r * d, block.norm, step.eps, d, h + r * d);
        if (block.kind == 'M') mamba(block.mamba, step.states[i], step, h, x, scratch);
        if (block.kind == '*') attention(block.attention, step.states[i], step, h, x, scratch);
        if (block.kind == 'E') mixture(block.experts, step, h, x, scratch);
        if (block.kind == '-') dense(block.dense, step, h, x, scratch);
        if (step.states[i].output) __builtin_memcpy(step.states[i].output, x, rows * d * 4);
    }
    for (i64 r = 0; r < rows; r++) rms_norm(x + r * d, step.norm, step.eps, d, step.output + r * d);
}

// A state after the first `counts[b]` tokens of a step, for each sequence.
inline void replay(const Mamba& m, const State& s, i64 batch, i64 time, const i64* counts, float* scratch) {
    const i64 inner = m.heads * m.head_dim, channels = inner + 2 * m.groups * m.size;
    for (i64 b = 0; b < batch; b++)
        scan(m, s.ssm + b * s.ssm_stride, s.ssm_out + b * inner * m.size, s.convolved + b * time * channels,
             s.dt + b * time * m.heads, counts[b], nullptr, scratch);
}

// A piece of memory.
struct Piece {
    const void* data;
    i64 bytes;
};

inline VecBits mixed(VecBits hash, VecBits words) {
    hash = (hash ^ words) * 0x9e3779b1u;
    return hash ^ (hash >> 15);
}

// A hash over all bytes of some pieces: values and order count. Not against an adversary. Eight hashes of 16 lanes take
// turns, since one waits for its own products.
constexpr int TURNS = 8;

inline unsigned long long checksum(const Piece* pieces, i64 count) {
    VecBits hash[TURNS] = {};
    for (i64 p = 0; p < count; p++) {
        const char* data = (const char*)pieces[p].data;
        i64 i = 0;
        VecBits words;
        for (; i + 64 * TURNS <= pieces[p].bytes; i += 64 * TURNS) {
#pragma unroll
            for (int turn = 0; turn < TURNS; turn++) {
                __builtin_memcpy(&words, data + i + 64 * turn, 64);
                hash[turn] = mixed(hash[turn], words);
            }
        }
        for (; i + 64 <= pieces[p].bytes; i += 64) {
            __builtin_memcpy(&words, data + i, 64);
            hash[0] = mixed(hash[0], words);
        }
        words = VecBits{};
        __builtin_memcpy(&words, data + i, pieces[p].bytes - i);
        hash[0] = mixed(hash[0], words);
    }
    unsigned long long total = 0;
    for (int turn = 0; turn < TURNS; turn++)
        for (int lane = 0; lane < LANES; lane++) total = total * 1000003 + hash[turn][lane];
    return total;
}

// A hash over 64 bytes in the middle of each piece: changed where a whole piece was written, at almost no cost.
inline unsigned long long probe(const Piece* pieces, i64 count) {
    VecBits hash = {};
    for (i64 p = 0; p < count; p++) {
        const i64 bytes = pieces[p].bytes < 64 ? pieces[p].bytes : 64;
        VecBits words = {};
        __builtin_memcpy(&words, (const char*)pieces[p].data + (pieces[p].bytes - bytes) / 2, bytes);
        hash = mixed(hash, words);
    }
    unsigned long long total = 0;
    for (int lane = 0; lane < LANES; lane++) total = total * 1000003 + hash[lane];
    return total;
}

}  // namespace cpu_step
