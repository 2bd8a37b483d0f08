/* The vector layer for AVX-512; portable.h defines all names. */
#include <immintrin.h>

typedef __m512 floats;
typedef __m512i ints;

enum {
    VECTORS = 4, /* 24 sums, 4 vectors of weights and one of a row fit into 32 registers */
    DEPTH = 4,
    SIGNED = 0,
};

INLINE floats f_load(const float *from) { return _mm512_loadu_ps(from); }
INLINE void f_store(float *to, floats x) { _mm512_storeu_ps(to, x); }
INLINE floats f_set(float x) { return _mm512_set1_ps(x); }
INLINE floats f_add(floats x, floats y) { return _mm512_add_ps(x, y); }
INLINE floats f_sub(floats x, floats y) { return _mm512_sub_ps(x, y); }
INLINE floats f_mul(floats x, floats y) { return _mm512_mul_ps(x, y); }
INLINE floats f_div(floats x, floats y) { return _mm512_div_ps(x, y); }
INLINE floats f_max(floats x, floats y) { return _mm512_max_ps(x, y); }
INLINE floats f_min(floats x, floats y) { return _mm512_min_ps(x, y); }
INLINE floats f_sqrt(floats x) { return _mm512_sqrt_ps(x); }
INLINE floats f_abs(floats x) { return _mm512_abs_ps(x); }
INLINE floats f_fma(floats x, floats y, floats more) { return _mm512_fmadd_ps(x, y, more); }
INLINE floats f_fnma(floats x, floats y, floats more) { return _mm512_fnmadd_ps(x, y, more); }
INLINE ints f_round(floats x) { return _mm512_cvtps_epi32(x); }

INLINE float f_sum(floats x) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ps(four, _mm_shuffle_ps(four, four, 1)));
}

#define f_sums f_sums
/* The sums of LANES vectors, each added up in the order of f_sum. */
INLINE floats f_sums(const floats *x) {
    floats half[8], fourth[4], pair[2];
    UNROLL for (int i = 0; i < 8; i++)
        half[i] = f_add(_mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0x44),
                        _mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0xee));
    UNROLL for (int i = 0; i < 4; i++)
        fourth[i] = f_add(_mm512_shuffle_f32x4(half[2 * i], half[2 * i + 1], 0x88),
                          _mm512_shuffle_f32x4(half[2 * i], half[2 * i + 1], 0xdd));
    UNROLL for (int i = 0; i < 2; i++) {
        __m512d one = _mm512_castps_pd(fourth[2 * i]), other = _mm512_castps_pd(fourth[2 * i + 1]);
        pair[i] = f_add(_mm512_castpd_ps(_mm512_unpacklo_pd(one, other)),
                        _mm512_castpd_ps(_mm512_unpackhi_pd(one, other)));
    }
    floats sums = f_add(_mm512_shuffle_ps(pair[0], pair[1], 0x88), _mm512_shuffle_ps(pair[0], pair[1], 0xdd));
    const ints order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_ps(order, sums);
}
INLINE int f_exceeds(floats x, floats y) { return _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ) != 0; }
INLINE float f_largest(floats x) { return _mm512_reduce_max_ps(x); }
INLINE float f_smallest(floats x) { return _mm512_reduce_min_ps(x); }

INLINE ints i_load(const int32_t *from) { return _mm512_loadu_si512(from); }
INLINE void i_store(int32_t *to, ints x) { _mm512_storeu_si512(to, x); }
INLINE ints i_set(int32_t x) { return _mm512_set1_epi32(x); }
INLINE ints i_add(ints x, ints y) { return _mm512_add_epi32(x, y); }
INLINE ints i_mul(ints x, ints y) { return _mm512_mullo_epi32(x, y); }
INLINE ints i_or(ints x, ints y) { return _mm512_or_si512(x, y); }
INLINE ints i_and(ints x, ints y) { return _mm512_and_si512(x, y); }
INLINE ints i_left(ints x, int by) { return _mm512_slli_epi32(x, by); }
INLINE int32_t i_sum(ints x) { return _mm512_reduce_add_epi32(x); }
INLINE floats i_floats(ints x) { return _mm512_cvtepi32_ps(x); }
INLINE floats f_power(floats x, ints n) {
    return _mm512_castsi512_ps(i_add(_mm512_castps_si512(x), i_left(n, 23)));
}

INLINE void i_store_bytes(uint8_t *to, ints x) {
    _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(_mm512_max_epi32(x, _mm512_setzero_si512())));
}
INLINE void i_store_four(uint8_t *to, const ints *x) {
    ints low = _mm512_packs_epi32(x[0], x[1]), high = _mm512_packs_epi32(x[2], x[3]);
    const ints order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
}
INLINE void i_store_signed(int8_t *to, ints x) {
    _mm_storeu_si128((__m128i *)to, _mm512_cvtsepi32_epi8(x));
}
INLINE void i_store_words(int16_t *to, ints x) {
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtsepi32_epi16(x));
}
INLINE ints i_from_bytes(const int8_t *from) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from));
}

#define i_store_places i_store_places
INLINE long i_store_places(int32_t *to, ints bytes, int32_t first) {
    const ints lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __mmask16 set = _mm512_test_epi32_mask(bytes, bytes);
    i_store(to, _mm512_maskz_compress_epi32(set, i_add(lanes, i_set(first))));
    return __builtin_popcount(set);
}

/* Without it, GCC keeps sums in memory. */
#define IN_REGISTER(sum) __asm__("" : "+v"(sum))

INLINE void dots(const int height, const int vectors, const uint8_t *rows, long stride, const int8_t *panel,
                 const int32_t *which, long groups, const ints *start, ints sum[][VECTORS]) {
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < vectors; j++)
            sum[r][j] = start[j];
    const long whole = 64 * vectors * groups;
    for (long i = 0; i < groups; i++) {
        ints weights[VECTORS];
        const long k = which ? which[i] : i;
        const int8_t *at = panel + 64 * vectors * k;
        UNROLL for (int j = 0; j < vectors; j++) {
            weights[j] = _mm512_loadu_si512(at + 64 * j);
            if (!which) __builtin_prefetch(at + whole + 64 * j, 0, 2); /* the next panel */
        }
        UNROLL for (int r = 0; r < height; r++) {
            ints row = _mm512_set1_epi32(four_bytes(rows + r * stride + 4 * k));
            UNROLL for (int j = 0; j < vectors; j++) {
                sum[r][j] = _mm512_dpbusd_epi32(sum[r][j], row, weights[j]);
                IN_REGISTER(sum[r][j]);
            }
        }
    }
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < vectors; j++)
            IN_REGISTER(sum[r][j]);
}

INLINE void word_dots(const int height, const int16_t *const *rows, long pairs, const int16_t *panel,
                      ints sum[][VECTORS]) {
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int j = 0; j < VECTORS; j++)
            sum[r][j] = i_set(0);
    for (long k = 0; k < pairs; k++) {
        ints weights[VECTORS];
        UNROLL for (int j = 0; j < VECTORS; j++)
            weights[j] = _mm512_loadu_si512(panel + 32 * (VECTORS * k + j));
        UNROLL for (int r = 0; r < height; r++) {
            ints row = i_set(two_words(rows[r] + 2 * k));
            UNROLL for (int j = 0; j < VECTORS; j++) {
                sum[r][j] = _mm512_dpwssd_epi32(sum[r][j], row, weights[j]);
                IN_REGISTER(sum[r][j]);
            }
        }
    }
}
