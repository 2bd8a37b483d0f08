/* The vector layer for NEON: with DOT, dot products of four bytes; with I8MM, int8 matrix products.
   portable.h defines all names. */
#include <arm_neon.h>

typedef float32x4x4_t floats;
typedef int32x4x4_t ints;

enum {
    VECTORS = 1, /* sums, weights and rows fit into 32 registers */
#ifdef I8MM
    DEPTH = 8,
    SIGNED = 0,
#else
    DEPTH = 4,
    SIGNED = 1,
#endif
};

#define FOUR(type, one, ...)                                                                                  \
    (type){{one(0, __VA_ARGS__), one(1, __VA_ARGS__), one(2, __VA_ARGS__), one(3, __VA_ARGS__)}}
#define ONE(i, op, x) op((x).val[i])
#define TWO(i, op, x, y) op((x).val[i], (y).val[i])
#define THREE(i, op, x, y, z) op((x).val[i], (y).val[i], (z).val[i])

INLINE floats f_load(const float *from) { return vld1q_f32_x4(from); }
INLINE void f_store(float *to, floats x) { vst1q_f32_x4(to, x); }
INLINE floats f_set(float x) {
    float32x4_t all = vdupq_n_f32(x);
    return (floats){{all, all, all, all}};
}
INLINE floats f_add(floats x, floats y) { return FOUR(floats, TWO, vaddq_f32, x, y); }
INLINE floats f_sub(floats x, floats y) { return FOUR(floats, TWO, vsubq_f32, x, y); }
INLINE floats f_mul(floats x, floats y) { return FOUR(floats, TWO, vmulq_f32, x, y); }
INLINE floats f_div(floats x, floats y) { return FOUR(floats, TWO, vdivq_f32, x, y); }
INLINE float32x4_t larger(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
INLINE float32x4_t smaller(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
INLINE floats f_max(floats x, floats y) { return FOUR(floats, TWO, larger, x, y); }
INLINE floats f_min(floats x, floats y) { return FOUR(floats, TWO, smaller, x, y); }
INLINE floats f_sqrt(floats x) { return FOUR(floats, ONE, vsqrtq_f32, x); }
INLINE floats f_abs(floats x) { return FOUR(floats, ONE, vabsq_f32, x); }
INLINE floats f_fma(floats x, floats y, floats more) { return FOUR(floats, THREE, vfmaq_f32, more, x, y); }
INLINE floats f_fnma(floats x, floats y, floats more) { return FOUR(floats, THREE, vfmsq_f32, more, x, y); }
INLINE ints f_round(floats x) { return FOUR(ints, ONE, vcvtnq_s32_f32, x); }

INLINE float f_sum(floats x) {
    float32x4_t four = vaddq_f32(vaddq_f32(x.val[0], x.val[2]), vaddq_f32(x.val[1], x.val[3]));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
INLINE float f_largest(floats x) {
    return vmaxvq_f32(larger(larger(x.val[0], x.val[1]), larger(x.val[2], x.val[3])));
}
INLINE float f_smallest(floats x) {
    return vminvq_f32(smaller(smaller(x.val[0], x.val[1]), smaller(x.val[2], x.val[3])));
}
INLINE int f_exceeds(floats x, floats y) {
    uint32x4_t low = vorrq_u32(vcgtq_f32(x.val[0], y.val[0]), vcgtq_f32(x.val[1], y.val[1]));
    uint32x4_t high = vorrq_u32(vcgtq_f32(x.val[2], y.val[2]), vcgtq_f32(x.val[3], y.val[3]));
    return vmaxvq_u32(vorrq_u32(low, high)) != 0;
}

INLINE ints i_load(const int32_t *from) { return vld1q_s32_x4(from); }
INLINE void i_store(int32_t *to, ints x) { vst1q_s32_x4(to, x); }
INLINE ints i_set(int32_t x) {
    int32x4_t all = vdupq_n_s32(x);
    return (ints){{all, all, all, all}};
}
INLINE ints i_add(ints x, ints y) { return FOUR(ints, TWO, vaddq_s32, x, y); }
INLINE ints i_mul(ints x, ints y) { return FOUR(ints, TWO, vmulq_s32, x, y); }
INLINE ints i_or(ints x, ints y) { return FOUR(ints, TWO, vorrq_s32, x, y); }
INLINE ints i_and(ints x, ints y) { return FOUR(ints, TWO, vandq_s32, x, y); }
INLINE ints i_left(ints x, int by) { return FOUR(ints, TWO, vshlq_s32, x, i_set(by)); }
INLINE int32_t i_sum(ints x) {
    return vaddvq_s32(vaddq_s32(vaddq_s32(x.val[0], x.val[1]), vaddq_s32(x.val[2], x.val[3])));
}
INLINE floats i_floats(ints x) { return FOUR(floats, ONE, vcvtq_f32_s32, x); }
INLINE floats f_power(floats x, ints n) {
    ints bits = i_add(FOUR(ints, ONE, vreinterpretq_s32_f32, x), i_left(n, 23));
    return FOUR(floats, ONE, vreinterpretq_f32_s32, bits);
}

/* Eight elements as 16 bits each, the first or the second half. */
INLINE int16x8_t i_words(ints x, int half) {
    return vcombine_s16(vqmovn_s32(x.val[2 * half]), vqmovn_s32(x.val[2 * half + 1]));
}
INLINE void i_store_bytes(uint8_t *to, ints x) {
    uint8x16_t bytes = vcombine_u8(vqmovun_s16(i_words(x, 0)), vqmovun_s16(i_words(x, 1)));
    vst1q_u8(to, SIGNED ? veorq_u8(bytes, vdupq_n_u8(128)) : bytes);
}
INLINE void i_store_four(uint8_t *to, const ints *x) {
    for (int i = 0; i < 4; i++) i_store_bytes(to + LANES * i, x[i]);
}
INLINE void i_store_signed(int8_t *to, ints x) {
    vst1q_s8(to, vcombine_s8(vqmovn_s16(i_words(x, 0)), vqmovn_s16(i_words(x, 1))));
}
INLINE void i_store_words(int16_t *to, ints x) {
    vst1q_s16(to, i_words(x, 0));
    vst1q_s16(to + 8, i_words(x, 1));
}
INLINE ints i_from_bytes(const int8_t *from) {
    int8x16_t bytes = vld1q_s8(from);
    int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
    return (ints){{vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)), vmovl_s16(vget_low_s16(high)),
                   vmovl_s16(vget_high_s16(high))}};
}

#ifdef I8MM

/* Two rows, eight bytes of each. */
INLINE uint8x16_t two_rows(const uint8_t *first, const uint8_t *second) {
    return vcombine_u8(vld1_u8(first), vld1_u8(second));
}

/* Rows and columns in pairs: a sum holds two columns of a row and the same two of the next. */
INLINE void dots(const int height, const int vectors, const uint8_t *rows, long stride, const int8_t *panel,
                 const int32_t *which, long groups, const ints *start, ints sum[][VECTORS]) {
    (void)vectors;
    int32x4_t pairs[TILE / 2][8];
    UNROLL for (int r = 0; r < height; r += 2)
        UNROLL for (int c = 0; c < 8; c++) {
            int32x2_t two = c % 2 ? vget_high_s32(start->val[c / 2]) : vget_low_s32(start->val[c / 2]);
            pairs[r / 2][c] = vcombine_s32(two, two);
        }
    for (long i = 0; i < groups; i++) {
        const long k = which ? which[i] : i;
        const int8_t *at = panel + 128 * k;
        uint8x16_t both[TILE / 2];
        UNROLL for (int r = 0; r < height; r += 2) {
            const uint8_t *row = rows + r * stride + 8 * k;
            both[r / 2] = two_rows(row, row + (r + 1 < height ? stride : 0));
        }
        UNROLL for (int c = 0; c < 8; c++) {
            int8x16_t columns = vld1q_s8(at + 16 * c);
            UNROLL for (int r = 0; r < height; r += 2)
                pairs[r / 2][c] = vusmmlaq_s32(pairs[r / 2][c], both[r / 2], columns);
        }
    }
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < 4; j++) {
            int64x2_t a = vreinterpretq_s64_s32(pairs[r / 2][2 * j]);
            int64x2_t b = vreinterpretq_s64_s32(pairs[r / 2][2 * j + 1]);
            sum[r][0].val[j] = vreinterpretq_s32_s64(r % 2 ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
        }
}

#else

/* sum + four products in each of four columns: of `weights` and bytes 4 * lane and on of `row`. */
#ifdef DOT
#define DOTS(sum, weights, row, lane) vdotq_laneq_s32(sum, weights, row, lane)
#else
#define DOTS(sum, weights, row, lane)                                                                          \
    dot(sum, weights, vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(row), lane)))

INLINE int32x4_t dot(int32x4_t sum, int8x16_t weights, int8x16_t row) {
    int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(row));
    int16x8_t high = vmull_s8(vget_high_s8(weights), vget_high_s8(row));
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}
#endif

#define STEP(lane)                                                                                             \
    UNROLL for (int j = 0; j < 4; j++) {                                                                       \
        int8x16_t weights = vld1q_s8(panel + 64 * lane + 16 * j);                                              \
        UNROLL for (int r = 0; r < height; r++) sums[r][j] = DOTS(sums[r][j], weights, row[r], lane);          \
    }

/* At most four rows: with sixteen bytes of each available, no product waits for a load. */
INLINE void few_dots(const int height, const uint8_t *rows, long stride, const int8_t *panel, long groups,
                     const ints *start, ints sum[][VECTORS]) {
    int32x4_t sums[4][4];
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < 4; j++)
            sums[r][j] = start->val[j];
    for (long k = 0; k < groups; k += 4, panel += 256) {
        int8x16_t row[4];
        UNROLL for (int r = 0; r < height; r++)
            row[r] = vreinterpretq_s8_u8(vld1q_u8(rows + r * stride + 4 * k));
        STEP(0) STEP(1) STEP(2) STEP(3)
    }
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < 4; j++)
            sum[r][0].val[j] = sums[r][j];
}

INLINE void dots(const int height, const int vectors, const uint8_t *rows, long stride, const int8_t *panel,
                 const int32_t *which, long groups, const ints *start, ints sum[][VECTORS]) {
    (void)vectors;
    (void)which; /* SIGNED: all */
    const int first = height > 4 ? height / 2 : height;
    few_dots(first, rows, stride, panel, groups, start, sum);
    if (height > first)
        few_dots(height - first, rows + first * stride, stride, panel, groups, start, sum + first);
}

#endif

/* sum + a word of a row times a word of each of sixteen columns, of which eight are in each part. */
#define WORDS(sum, low, high, row, lane)                                                                       \
    sum[0] = vmlal_lane_s16(sum[0], vget_low_s16(low), row, lane);                                             \
    sum[1] = vmlal_lane_s16(sum[1], vget_high_s16(low), row, lane);                                            \
    sum[2] = vmlal_lane_s16(sum[2], vget_low_s16(high), row, lane);                                            \
    sum[3] = vmlal_lane_s16(sum[3], vget_high_s16(high), row, lane)

INLINE void few_word_dots(const int height, const int16_t *const *rows, long pairs, const int16_t *panel,
                          ints sum[][VECTORS]) {
    int32x4_t sums[4][4];
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < 4; j++)
            sums[r][j] = vdupq_n_s32(0);
    for (long k = 0; k < pairs; k++) {
        int16x8x2_t low = vld2q_s16(panel + 32 * k), high = vld2q_s16(panel + 32 * k + 16);
        UNROLL for (int r = 0; r < height; r++) {
            int16x4_t row = vreinterpret_s16_s32(vdup_n_s32(two_words(rows[r] + 2 * k)));
            WORDS(sums[r], low.val[0], high.val[0], row, 0);
            WORDS(sums[r], low.val[1], high.val[1], row, 1);
        }
    }
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < 4; j++)
            sum[r][0].val[j] = sums[r][j];
}

INLINE void word_dots(const int height, const int16_t *const *rows, long pairs, const int16_t *panel,
                      ints sum[][VECTORS]) {
    const int first = height > 4 ? height / 2 : height;
    few_word_dots(first, rows, pairs, panel, sum);
    if (height > first) few_word_dots(height - first, rows + first, pairs, panel, sum + first);
}
