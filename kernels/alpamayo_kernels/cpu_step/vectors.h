// Vectors of 16 floats, and products of stored weights with a few rows.
//
// Every sum over a row has one fixed order, whatever the number of rows: a token's result does not depend on the Vector extensions of Clang; the compiler splits them for narrower machines.

#pragma once
#pragma clang diagnostic ignored "-Wpsabi"  // vectors of 512 bits never leave this translation unit
#pragma clang fp contract(fast)  // a * b + c in one instruction, as everywhere in numerical libraries

namespace cpu_step {

typedef long long i64;
constexpr int LANES = 16;
typedef float Vec __attribute__((vector_size(64)));
typedef float VecLoad __attribute__((vector_size(64), aligned(4)));
typedef int VecInt __attribute__((vector_size(64)));
typedef unsigned VecBits __attribute__((vector_size(64)));
typedef unsigned short HalfLoad __attribute__((vector_size(32), aligned(2)));
typedef signed char ByteLoad __attribute__((vector_size(16), aligned(1)));

inline Vec load(const float* p) { return *(const VecLoad*)p; }
inline void store(float* p, Vec v) { *(VecLoad*)p = v; }
inline Vec splat(float a) { return a - Vec{}; }  // a - 0, since Vec{a} fills one lane only

inline float sum(Vec v) {
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++) v[i] += v[i + width];
    return v[0];
}

template <int S>
inline void exchange(Vec& a, Vec& b) {
#define LOW(l) ((l) & S ? LANES + (l)-S : (l))
#define HIGH(l) ((l) & S ? LANES + (l) : (l) + S)
#define ALL(f) f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)
    const Vec low = __builtin_shufflevector(a, b, ALL(LOW)), high = __builtin_shufflevector(a, b, ALL(HIGH));
#undef LOW
#undef HIGH
#undef ALL
    a = low;
    b = high;
}

template <int S>
inline void fold(Vec* v) {
#pragma unroll
    for (int i = 0; i < S; i++) {
        exchange<S>(v[i], v[i + S]);
        v[i] += v[i + S];
    }
}

// The sums of 16 vectors, each in the order of `sum`.
inline Vec sums(Vec* v) {
    fold<8>(v);
    fold<4>(v);
    fold<2>(v);
    fold<1>(v);
    return v[0];
}

inline Vec largest(Vec a, Vec b) { return a > b ? a : b; }

// exp by range reduction and a polynomial of degree 6 (Cephes' expf, Moshier 1992): relative error under 2e-7.
inline Vec exponential(Vec x) {
    x = x < -87.3f ? splat(-87.3f) : x;
    x = x > 88.3f ? splat(88.3f) : x;
    const Vec shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23 rounds to the nearest integer
    const Vec n = shifted - 12582912.0f;
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Vec)((VecInt)p + (__builtin_convertvector(n, VecInt) << 23));
}

inline float exponential(float x) { return exponential(splat(x))[0]; }

inline Vec silu(Vec x) { return x / (1.0f + exponential(-x)); }

inline float silu(float x) { return silu(splat(x))[0]; }

// log of positive numbers by its polynomial around 1 (Cephes' logf): relative error under 2e-7.
inline Vec logarithm(Vec x) {
    VecInt bits = (VecInt)x, e = (bits >> 23) - 126;
    Vec m = (Vec)((bits & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
    const VecInt low = m < 0.707106781f;
    e += low;
    m = (low ? m + m : m) - 1.0f;
    const Vec z = m * m, n = __builtin_convertvector(e, Vec);
    Vec p = splat(7.0376836292e-2f);
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z - 2.12194440e-4f * n - 0.5f * z;
    return m + p + 0.693359375f * n;
}

// log(1 + e^x); for small e^x by its series, since 1 + e^x would lose it.
inline Vec softplus(Vec x) {
    const Vec e = exponential(x);
    const Vec series = e * (1.0f - e * (0.5f - e * (1.0f / 3 - e * (0.25f - e * 0.2f))));
    const Vec near = e < 1e-2f ? series : logarithm(1.0f + e);
    return x <= 20.0f ? near : x;  // what is not a number stays so
}

inline float dot(const float* a, const float* b, i64 n) {
    Vec total = {};
    i64 i = 0;
    for (; i + LANES <= n; i += LANES) total += load(a + i) * load(b + i);
    float s = sum(total);
    for (; i < n; i++) s += a[i] * b[i];
    return s;
}

// Weights `[rows, cols]` in place or, if `panels`, rearranged: float32 (kind 0), bfloat16 (1), or int8 with a
// bfloat16 scale a row (2).
struct Weight {
    const void* data;
    const unsigned short* scale;
    const float* bias;
    i64 rows, cols, kind, panels;
};

inline float from_bfloat16(unsigned short b) {
    const unsigned bits = (unsigned)b << 16;
    float f;
    __builtin_memcpy(&f, &bits, 4);
    return f;
}

struct Float32 {
    typedef float Stored;
    static Vec vector(const float* p) { return load(p); }
    static float scalar(const float* p) { return *p; }
};
struct BFloat16 {
    typedef unsigned short Stored;
    static Vec vector(const unsigned short* p) {
        return (Vec)(__builtin_convertvector(*(const HalfLoad*)p, VecBits) << 16);
    }
    static float scalar(const unsigned short* p) { return from_bfloat16(*p); }
};
struct Int8 {
    typedef signed char Stored;
    static Vec vector(const signed char* p) { return __builtin_convertvector(*(const ByteLoad*)p, Vec); }
    static float scalar(const signed char* p) { return (float)*p; }
};

// Where products go: `y[out(m)][row] = value`, or added, or squared after a ReLU; times `gain[m]` if there is one.
enum class Then { Store, Add, SquaredReLU };

struct Rows {
    const float* x;
    i64 x_stride;
    float* y;
    i64 y_stride;
    i64 count;
    const int* from = nullptr;  // row of x for each; the same when null
    const int* to = nullptr;    // row of y for each; the same when null
    const float* gain = nullptr;
};

// Weights in place, to be stored only: one weight row after the other, so that memory is read in one stream (three times as fast as in four),
// and 16 sums taken at once.
template <class Form, int M>
inline void group(const Weight& w, i64 row, const float* const* x, const Rows& rows) {
    constexpr int N = LANES / M;
    const typename Form::Stored* stored = (const typename Form::Stored*)w.data + row * w.cols;
    const i64 present = w.rows - row < N ? w.rows - row : N;
    Vec total[LANES] = {};
    float rest[LANES] = {};
    for (i64 n = 0; n < present; n++, stored += w.cols) {
        Vec t[M] = {};
        i64 c = 0;
        for (; c + LANES <= w.cols; c += LANES) {
            const Vec v = Form::vector(stored + c);
#pragma unroll
            for (int m = 0; m < M; m++) t[m] += v * load(x[m] + c);
        }
        for (int m = 0; m < M; m++) total[m * N + n] = t[m];
        for (; c < w.cols; c++)
            for (int m = 0; m < M; m++) rest[m * N + n] += Form::scalar(stored + c) * x[m][c];
    }
    store(rest, sums(total) + load(rest));
    for (int m = 0; m < M; m++) {
        float* y = rows.y + m * rows.y_stride + row;
        for (i64 n = 0; n < present; n++) {
            float value = rest[m * N + n];
            if (w.scale) value *= from_bfloat16(w.scale[row + n]);
            y[n] = w.bias ? value + w.bias[row + n] : value;
        }
    }
}

template <class Form, int M = LANES>
inline void stream(const Weight& w, const Rows& rows) {
    if constexpr (M > 0) {
        if (rows.count < M) return stream<Form, M - 1>(w, rows);
        const float* x[M];
        for (int m = 0; m < M; m++) x[m] = rows.x + m * rows.x_stride;
        for (i64 row = 0; row < w.rows; row += LANES / M) group<Form, M>(w, row, x, rows);
    }
}

template <class Form>
inline void multiply_in_place(const Weight& w, const Rows& rows) {
    for (i64 first = 0; first < rows.count; first += LANES) {
        Rows part = rows;
        part.count = rows.count - first < LANES ? rows.count - first : LANES;
        part.x += first * rows.x_stride;
        part.y += first * rows.y_stride;
        stream<Form>(w, part);
    }
}

// Weights in panels [rows / 64, cols, 64]: memory is one stream, outputs stay in registers, and up to 6 rows share a
// panel's numbers (after Goto and van de Geijn 2008).
constexpr i64 WIDE = 4, PANEL = WIDE * LANES;

inline void emit(const Weight& w, i64 row, Vec total, float* y, float gain, Then then) {
    float wide[LANES] = {};
    const i64 present = w.rows - row < LANES ? w.rows - row : LANES;
    float* out = present == LANES ? y + row : wide;
    if (out == wide) __builtin_memcpy(wide, y + row, present * 4);
    if (w.scale)
        for (i64 n = 0; n < present; n++) total[n] *= from_bfloat16(w.scale[row + n]);
    if (w.bias)
        for (i64 n = 0; n < present; n++) total[n] += w.bias[row + n];
    if (then == Then::SquaredReLU) total = total <= 0.0f ? Vec{} : total * total;  // keeps what is not a number
    total *= gain;
    if (then == Then::Add) total += load(out);
    store(out, total);
    if (out == wide) __builtin_memcpy(y + row, wide, present * 4);
}

template <class Form, int M>
inline void meet(const Weight& w, i64 row, i64 first, const Rows& rows, Then then) {
    const typename Form::Stored* panel = (const typename Form::Stored*)w.data + row * w.cols;
    const float* x[M];
    for (int m = 0; m < M; m++) x[m] = rows.x + (rows.from ? rows.from[first + m] : first + m) * rows.x_stride;
    Vec total[M][WIDE] = {};
    for (i64 c = 0; c < w.cols; c++) {
        Vec v[WIDE];
#pragma unroll
        for (int n = 0; n < WIDE; n++) v[n] = Form::vector(panel + c * PANEL + n * LANES);
#pragma unroll
        for (int m = 0; m < M; m++) {
            const Vec a = splat(x[m][c]);
#pragma unroll
            for (int n = 0; n < WIDE; n++) total[m][n] += v[n] * a;
        }
    }
    for (int m = 0; m < M; m++) {
        float* y = rows.y + (rows.to ? rows.to[first + m] : first + m) * rows.y_stride;
        const float gain = rows.gain ? rows.gain[first + m] : 1.0f;
        for (i64 n = 0; n < WIDE && row + n * LANES < w.rows; n++)
            emit(w, row + n * LANES, total[m][n], y, gain, then);
    }
}

template <class Form, int M = 6>
inline void meet_all(const Weight& w, i64 row, i64 first, const Rows& rows, Then then) {
    if constexpr (M > 0) {
        for (; first + M <= rows.count; first += M) meet<Form, M>(w, row, first, rows, then);
        meet_all<Form, M - 1>(w, row, first, rows, then);
    }
}

template <class Form>
inline void multiply_as(const Weight& w, const Rows& rows, Then then) {
    if (!w.panels) return multiply_in_place<Form>(w, rows);
    for (i64 row = 0; row < w.rows; row += PANEL) meet_all<Form>(w, row, 0, rows, then);
}

inline void multiply(const Weight& w, const Rows& rows, Then then = Then::Store) {
    if (w.kind == 0) multiply_as<Float32>(w, rows, then);
    if (w.kind == 1) multiply_as<BFloat16>(w, rows, then);
    if (w.kind == 2) multiply_as<Int8>(w, rows, then);
}

}  // namespace cpu_step
