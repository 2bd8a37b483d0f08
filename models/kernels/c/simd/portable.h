/* The vector layer in plain C: it defines the meaning of each name, and runs on processors without another
   layer. Vectors have sixteen elements in every layer, and every operation is that of IEEE 754, rounded once;
   so all layers give bit-identical results.

   f_max(x, y) is x > y ? x : y, f_min alike. f_fma(x, y, z) is z + x * y, f_fnma z - x * y. f_round rounds to
   the nearest, halves to even; f_power(x, n) is x * 2^n, both normal. f_sum adds the
   upper half to the lower until one element is left; f_exceeds is whether an element of x is above that of y. i_store_bytes stores 0..255, saturated, minus 128 if
   products use signed bytes (SIGNED); i_store_signed stores -128..127. A panel is VECTORS * 16 columns wide and
   stores DEPTH bytes of a column in adjacent positions. */

typedef struct {
    float v[LANES];
} floats;
typedef struct {
    int32_t v[LANES];
} ints;

enum { VECTORS = 1, DEPTH = 4, SIGNED = 0 };

#define EACH(type, one)                                                                                        \
    type found;                                                                                                \
    for (int i = 0; i < LANES; i++) found.v[i] = (one);                                                        \
    return found

INLINE floats f_load(const float *from) { EACH(floats, from[i]); }
INLINE void f_store(float *to, floats x) { __builtin_memcpy(to, x.v, sizeof x.v); }
INLINE floats f_set(float x) { EACH(floats, x); }
INLINE floats f_add(floats x, floats y) { EACH(floats, x.v[i] + y.v[i]); }
INLINE floats f_sub(floats x, floats y) { EACH(floats, x.v[i] - y.v[i]); }
INLINE floats f_mul(floats x, floats y) { EACH(floats, x.v[i] * y.v[i]); }
INLINE floats f_div(floats x, floats y) { EACH(floats, x.v[i] / y.v[i]); }
INLINE floats f_max(floats x, floats y) { EACH(floats, x.v[i] > y.v[i] ? x.v[i] : y.v[i]); }
INLINE floats f_min(floats x, floats y) { EACH(floats, x.v[i] < y.v[i] ? x.v[i] : y.v[i]); }
INLINE floats f_sqrt(floats x) { EACH(floats, __builtin_sqrtf(x.v[i])); }
INLINE floats f_abs(floats x) { EACH(floats, __builtin_fabsf(x.v[i])); }
INLINE floats f_fma(floats x, floats y, floats more) { EACH(floats, __builtin_fmaf(x.v[i], y.v[i], more.v[i])); }
INLINE floats f_fnma(floats x, floats y, floats more) {
    EACH(floats, __builtin_fmaf(-x.v[i], y.v[i], more.v[i]));
}
INLINE ints f_round(floats x) { EACH(ints, (int32_t)__builtin_lrintf(x.v[i])); }

INLINE float f_sum(floats x) {
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) x.v[i] += x.v[i + half];
    return x.v[0];
}
INLINE float f_largest(floats x) {
    float found = x.v[0];
    for (int i = 1; i < LANES; i++) found = found > x.v[i] ? found : x.v[i];
    return found;
}
INLINE float f_smallest(floats x) {
    float found = x.v[0];
    for (int i = 1; i < LANES; i++) found = found < x.v[i] ? found : x.v[i];
    return found;
}
INLINE int f_exceeds(floats x, floats y) {
    int found = 0;
    for (int i = 0; i < LANES; i++) found |= x.v[i] > y.v[i];
    return found;
}

INLINE ints i_load(const int32_t *from) { EACH(ints, from[i]); }
INLINE void i_store(int32_t *to, ints x) { __builtin_memcpy(to, x.v, sizeof x.v); }
INLINE ints i_set(int32_t x) { EACH(ints, x); }
INLINE ints i_add(ints x, ints y) { EACH(ints, x.v[i] + y.v[i]); }
INLINE ints i_mul(ints x, ints y) { EACH(ints, x.v[i] * y.v[i]); }
INLINE ints i_or(ints x, ints y) { EACH(ints, x.v[i] | y.v[i]); }
INLINE ints i_and(ints x, ints y) { EACH(ints, x.v[i] & y.v[i]); }
INLINE ints i_left(ints x, int by) { EACH(ints, (int32_t)((uint32_t)x.v[i] << by)); }
INLINE int32_t i_sum(ints x) {
    int32_t found = 0;
    for (int i = 0; i < LANES; i++) found += x.v[i];
    return found;
}
INLINE floats i_floats(ints x) { EACH(floats, (float)x.v[i]); }
INLINE floats f_power(floats x, ints n) {
    ints bits;
    __builtin_memcpy(&bits, &x, sizeof x);
    bits = i_add(bits, i_left(n, 23));
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

INLINE int32_t within(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }
INLINE void i_store_bytes(uint8_t *to, ints x) {
    for (int i = 0; i < LANES; i++) to[i] = (uint8_t)within(x.v[i], 0, 255);
}
INLINE void i_store_four(uint8_t *to, const ints *x) {
    for (int i = 0; i < 4; i++) i_store_bytes(to + LANES * i, x[i]);
}
INLINE void i_store_signed(int8_t *to, ints x) {
    for (int i = 0; i < LANES; i++) to[i] = (int8_t)within(x.v[i], -128, 127);
}
INLINE void i_store_words(int16_t *to, ints x) {
    for (int i = 0; i < LANES; i++) to[i] = (int16_t)within(x.v[i], -32768, 32767);
}
INLINE ints i_from_bytes(const int8_t *from) { EACH(ints, from[i]); }

/* sum[r][j] = start[j] + `height` rows of DEPTH * groups bytes times `vectors` * 16 columns of a panel. With
   `which`, only these groups of DEPTH bytes; never if SIGNED. */
INLINE void dots(const int height, const int vectors, const uint8_t *rows, long stride, const int8_t *panel,
                 const int32_t *which, long groups, const ints *start, ints sum[][VECTORS]) {
    (void)vectors;
    for (int r = 0; r < height; r++) {
        ints found = *start;
        for (long i = 0; i < groups; i++) {
            const long k = which ? which[i] : i;
            const uint8_t *row = rows + r * stride + DEPTH * k;
            for (int c = 0; c < LANES; c++) {
                const int8_t *column = panel + (LANES * k + c) * DEPTH;
                found.v[c] += row[0] * column[0] + row[1] * column[1] + row[2] * column[2] + row[3] * column[3];
            }
        }
        sum[r][0] = found;
    }
}

/* sum[r][j] = `height` rows of words times VECTORS * 16 columns of a panel, `pairs` times two words of each. */
INLINE void word_dots(const int height, const int16_t *const *rows, long pairs, const int16_t *panel,
                      ints sum[][VECTORS]) {
    for (int r = 0; r < height; r++) {
        ints found = i_set(0);
        for (long k = 0; k < pairs; k++)
            for (int c = 0; c < LANES; c++) {
                const int16_t *column = panel + 2 * (LANES * k + c);
                found.v[c] += rows[r][2 * k] * column[0] + rows[r][2 * k + 1] * column[1];
            }
        sum[r][0] = found;
    }
}
