/* Elementary functions, row sums, layer normalisation, quantisation. */

/* 2^x for x up to 127, relative error 3e-6; below -120 as at -120. */
INLINE floats exp2_of(floats x) {
    x = f_max(x, f_set(-120));
    floats whole = f_whole(x), f = f_sub(x, whole), y = f_set(1.33335581e-3f);
    y = f_fma(y, f, f_set(9.61812911e-3f));
    y = f_fma(y, f, f_set(5.55041087e-2f));
    y = f_fma(y, f, f_set(2.40226507e-1f));
    y = f_fma(y, f, f_set(6.93147181e-1f));
    y = f_fma(y, f, f_set(1));
    return f_power(y, whole);
}

static const float LOG2_E = 1.44269504f;

INLINE floats exp_of(floats x) { return exp2_of(f_mul(x, f_set(LOG2_E))); }

/* GELU: x * Phi(x), with erf by Abramowitz and Stegun, 7.1.26. */
INLINE floats gelu_of(floats x) {
    floats one = f_set(1), size = f_abs(x), z = f_mul(size, f_set(0.70710678f));
    floats t = f_div(one, f_fma(z, f_set(0.3275911f), one)), y = f_set(1.061405429f);
    y = f_fma(y, t, f_set(-1.453152027f));
    y = f_fma(y, t, f_set(1.421413741f));
    y = f_fma(y, t, f_set(-0.284496736f));
    y = f_fma(y, t, f_set(0.254829592f));
    floats bell = exp_of(f_sub(f_set(0), f_mul(z, z)));
    floats erf = f_fnma(f_mul(y, t), bell, one);
    return f_mul(f_set(0.5f), f_fma(size, erf, x));
}

static void gelu(float *x, long n) {
    for (long i = 0; i < n; i += LANES) f_store(x + i, gelu_of(f_load(x + i)));
}

/* to[i] += more[i] for n elements. */
static void add(float *to, const float *more, long n) {
    for (long i = 0; i < n; i += LANES) f_store(to + i, f_add(f_load(to + i), f_load(more + i)));
}

static void clear(float *x, long n) {
    for (long i = 0; i < n; i++) x[i] = 0;
}

/* Layer normalisation of one row. */
static void norm(const float *x, long n, Norm with, float *out) {
    floats total = f_set(0), squares = f_set(0);
    for (long i = 0; i < n; i += LANES) total = f_add(total, f_load(x + i));
    floats mean = f_set(f_sum(total) / (float)n);
    for (long i = 0; i < n; i += LANES) {
        floats from = f_sub(f_load(x + i), mean);
        squares = f_fma(from, from, squares);
    }
    floats scale = f_set(1 / __builtin_sqrtf(f_sum(squares) / (float)n + 1e-5f));
    for (long i = 0; i < n; i += LANES) {
        floats y = f_mul(f_sub(f_load(x + i), mean), scale);
        f_store(out + i, f_fma(y, f_load(with.weight + i), f_load(with.bias + i)));
    }
}

INLINE int32_t to_int(float x) { return (int32_t)__builtin_lrintf(x); }

/* Quantise the row `x` [n] to row r of `to`; its range includes zero, as in DynamicQuantizeLinear. */
static void quantise(const float *x, long n, Rows to, long r) {
    floats low = f_set(0), high = f_set(0);
    for (long i = 0; i < n; i += LANES) {
        floats v = f_load(x + i);
        low = f_min(low, v);
        high = f_max(high, v);
    }
    float lowest = f_smallest(low), step = (f_largest(high) - lowest) / 255;
    if (!(step > 0)) step = 1;
    int32_t middle = to_int(-lowest / step);
    floats inverse = f_set(1 / step);
    ints zero = i_set(middle);
    for (long i = 0; i < n; i += LANES) {
        ints q = f_round(f_mul(f_load(x + i), inverse));
        i_store_bytes(to.bytes + r * n + i, i_add(q, zero));
    }
    to.step[r] = step;
    to.zero[r] = -step * (float)middle;
}

/* Largest magnitude of n elements. */
static float magnitude(const float *x, long n) {
    floats top = f_set(0);
    for (long i = 0; i < n; i += LANES) top = f_max(top, f_abs(f_load(x + i)));
    return f_largest(top);
}
