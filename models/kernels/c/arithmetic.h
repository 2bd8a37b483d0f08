/* Elementary functions, row sums, layer normalisation, quantisation. */

/* 2^x for x up to 127, relative error 3e-6; below -120 as at -120. The minimax polynomial of degree four
   that is 1 at 0. */
INLINE floats exp2_of(floats x) {
    x = f_max(x, f_set(-120));
    ints whole = f_round(x);
    floats f = f_sub(x, i_floats(whole)), y = f_set(9.58285309e-3f);
    y = f_fma(y, f, f_set(5.59064246e-2f));
    y = f_fma(y, f, f_set(2.40240986e-1f));
    y = f_fma(y, f, f_set(6.93124193e-1f));
    y = f_fma(y, f, f_set(1));
    return f_power(y, whole);
}

static const float LOG2_E = 1.44269504f;

INLINE floats exp_of(floats x) { return exp2_of(f_mul(x, f_set(LOG2_E))); }

/* GELU: x * Phi(x), absolute error 6e-7. The part below zero, and what is missing above, is |x| * Phi(-|x|);
   the logarithm of Phi is nearly a parabola: the minimax polynomial of degree six up to 6, where x * Phi(-x) is
   6e-9. */
INLINE floats gelu_of(floats x) {
    floats size = f_abs(x), z = f_min(size, f_set(6)), y = f_set(3.30927672e-5f);
    y = f_fma(y, z, f_set(-7.69219272e-4f));
    y = f_fma(y, z, f_set(8.08071508e-3f));
    y = f_fma(y, z, f_set(-5.34121018e-2f));
    y = f_fma(y, z, f_set(-4.58770975e-1f));
    y = f_fma(y, z, f_set(-1.1512017f));
    y = f_fma(y, z, f_set(-0.999993061f));
    return f_fnma(size, exp2_of(y), f_max(x, f_set(0)));
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

/* Sum of n elements, or of the squares of their distance from `mean`: two sums, so that one need not wait for
   the other. */
INLINE float sum_of(const float *x, long n, floats mean, const int squared) {
    floats even = f_set(0), odd = even;
    long i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        floats one = f_sub(f_load(x + i), mean), other = f_sub(f_load(x + i + LANES), mean);
        even = squared ? f_fma(one, one, even) : f_add(even, one);
        odd = squared ? f_fma(other, other, odd) : f_add(odd, other);
    }
    if (i < n) {
        floats one = f_sub(f_load(x + i), mean);
        even = squared ? f_fma(one, one, even) : f_add(even, one);
    }
    return f_sum(f_add(even, odd));
}

/* Layer normalisation of one row. */
static void norm(const float *x, long n, Norm with, float *out) {
    floats mean = f_set(sum_of(x, n, f_set(0), 0) / (float)n);
    floats scale = f_set(1 / __builtin_sqrtf(sum_of(x, n, mean, 1) / (float)n + 1e-5f));
    for (long i = 0; i < n; i += LANES) {
        floats y = f_mul(f_sub(f_load(x + i), mean), scale);
        f_store(out + i, f_fma(y, f_load(with.weight + i), f_load(with.bias + i)));
    }
}

INLINE int32_t to_int(float x) { return (int32_t)__builtin_lrintf(x); }

typedef ints (*Level)(floats x, floats by);

INLINE ints level_of(floats x, floats inverse) { return f_round(f_mul(x, inverse)); }

/* Store of(x, by) + `middle` for n elements as bytes; returns their sum. */
INLINE ints store_levels(const float *x, long n, Level of, floats by, int32_t middle, uint8_t *to) {
    ints sum = i_set(0), q[4];
    long i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        UNROLL for (int j = 0; j < 4; j++) {
            q[j] = i_add(of(f_load(x + i + j * LANES), by), i_set(middle));
            sum = i_add(sum, q[j]);
        }
        i_store_four(to + i, q);
    }
    for (; i < n; i += LANES) {
        q[0] = i_add(of(f_load(x + i), by), i_set(middle));
        sum = i_add(sum, q[0]);
        i_store_bytes(to + i, q[0]);
    }
    return sum;
}

/* Quantise the row `x` [n] to row r of `to`; its range includes zero, as in DynamicQuantizeLinear. */
static void quantise(const float *x, long n, Rows to, long r) {
    floats low = f_set(0), high = low, lower = low, higher = low;
    long i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        floats one = f_load(x + i), other = f_load(x + i + LANES);
        low = f_min(low, one);
        high = f_max(high, one);
        lower = f_min(lower, other);
        higher = f_max(higher, other);
    }
    if (i < n) {
        low = f_min(low, f_load(x + i));
        high = f_max(high, f_load(x + i));
    }
    float lowest = f_smallest(f_min(low, lower));
    float step = (f_largest(f_max(high, higher)) - lowest) / 255;
    if (!(step > 0)) step = 1;
    int32_t middle = to_int(-lowest / step);
    store_levels(x, n, level_of, f_set(1 / step), middle, to.bytes + r * n);
    to.step[r] = step;
    to.zero[r] = -step * (float)middle;
}

/* Largest magnitude of n elements. */
static float magnitude(const float *x, long n) {
    floats top = f_set(0);
    for (long i = 0; i < n; i += LANES) top = f_max(top, f_abs(f_load(x + i)));
    return f_largest(top);
}
