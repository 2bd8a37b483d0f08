/* The vector layer for AVX2 and FMA, and for AVX-VNNI if VNNI is defined; portable.h defines all names. */
#include <immintrin.h>

typedef struct {
    __m256 a, b;
} floats;
typedef struct {
    __m256i a, b;
} ints;

enum {
    VECTORS = 1, /* 12 sums, 2 vectors of weights and one of a row fit into 16 registers */
    DEPTH = 4,
#ifdef VNNI
    SIGNED = 0,
#else
    SIGNED = 1,
#endif
};

#define BOTH(type, one) (type){one(x.a, y.a), one(x.b, y.b)}

INLINE floats f_load(const float *from) { return (floats){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
INLINE void f_store(float *to, floats x) {
    _mm256_storeu_ps(to, x.a);
    _mm256_storeu_ps(to + 8, x.b);
}
INLINE floats f_set(float x) { return (floats){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE floats f_add(floats x, floats y) { return BOTH(floats, _mm256_add_ps); }
INLINE floats f_sub(floats x, floats y) { return BOTH(floats, _mm256_sub_ps); }
INLINE floats f_mul(floats x, floats y) { return BOTH(floats, _mm256_mul_ps); }
INLINE floats f_div(floats x, floats y) { return BOTH(floats, _mm256_div_ps); }
INLINE floats f_max(floats x, floats y) { return BOTH(floats, _mm256_max_ps); }
INLINE floats f_min(floats x, floats y) { return BOTH(floats, _mm256_min_ps); }
INLINE floats f_sqrt(floats x) { return (floats){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
INLINE floats f_abs(floats y) {
    floats x = f_set(-0.0f);
    return BOTH(floats, _mm256_andnot_ps);
}
INLINE floats f_fma(floats x, floats y, floats more) {
    return (floats){_mm256_fmadd_ps(x.a, y.a, more.a), _mm256_fmadd_ps(x.b, y.b, more.b)};
}
INLINE floats f_fnma(floats x, floats y, floats more) {
    return (floats){_mm256_fnmadd_ps(x.a, y.a, more.a), _mm256_fnmadd_ps(x.b, y.b, more.b)};
}
INLINE ints f_round(floats x) { return (ints){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }

#define FOLD(eight, op)                                                                                        \
    __m128 four = op(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));                          \
    four = op(four, _mm_movehl_ps(four, four));                                                                \
    return _mm_cvtss_f32(op(four, _mm_shuffle_ps(four, four, 1)))

INLINE float f_sum(floats x) { FOLD(_mm256_add_ps(x.a, x.b), _mm_add_ps); }
INLINE float f_largest(floats x) { FOLD(_mm256_max_ps(x.a, x.b), _mm_max_ps); }
INLINE float f_smallest(floats x) { FOLD(_mm256_min_ps(x.a, x.b), _mm_min_ps); }
INLINE int f_exceeds(floats x, floats y) {
    __m256 a = _mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), b = _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ);
    return _mm256_movemask_ps(_mm256_or_ps(a, b)) != 0;
}

INLINE ints i_load(const int32_t *from) {
    const __m256i *at = (const __m256i *)from;
    return (ints){_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
INLINE void i_store(int32_t *to, ints x) {
    _mm256_storeu_si256((__m256i *)to, x.a);
    _mm256_storeu_si256((__m256i *)to + 1, x.b);
}
INLINE ints i_set(int32_t x) { return (ints){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
INLINE ints i_add(ints x, ints y) { return BOTH(ints, _mm256_add_epi32); }
INLINE ints i_mul(ints x, ints y) { return BOTH(ints, _mm256_mullo_epi32); }
INLINE ints i_or(ints x, ints y) { return BOTH(ints, _mm256_or_si256); }
INLINE ints i_and(ints x, ints y) { return BOTH(ints, _mm256_and_si256); }
INLINE ints i_left(ints x, int by) { return (ints){_mm256_slli_epi32(x.a, by), _mm256_slli_epi32(x.b, by)}; }
INLINE int32_t i_sum(ints x) {
    __m256i eight = _mm256_add_epi32(x.a, x.b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
INLINE floats i_floats(ints x) { return (floats){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
INLINE floats f_power(floats x, ints n) {
    ints bits = i_add((ints){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}, i_left(n, 23));
    return (floats){_mm256_castsi256_ps(bits.a), _mm256_castsi256_ps(bits.b)};
}

/* Sixteen elements as 16 bits each, in order. */
INLINE __m256i i_words(ints x) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8); }

INLINE void i_store_bytes(uint8_t *to, ints x) {
    __m256i words = i_words(x);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)to, SIGNED ? _mm_xor_si128(bytes, _mm_set1_epi8(-128)) : bytes);
}
INLINE void i_store_four(uint8_t *to, const ints *x) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int i = 0; i < 4; i += 2, to += 32) {
        __m256i low = _mm256_packs_epi32(x[i].a, x[i].b), high = _mm256_packs_epi32(x[i + 1].a, x[i + 1].b);
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
        _mm256_storeu_si256((__m256i *)to, SIGNED ? _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)) : bytes);
    }
}
INLINE void i_store_signed(int8_t *to, ints x) {
    __m256i words = i_words(x);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)to, bytes);
}
INLINE void i_store_words(int16_t *to, ints x) { _mm256_storeu_si256((__m256i *)to, i_words(x)); }
INLINE ints i_from_bytes(const int8_t *from) {
    return (ints){_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)),
                  _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(from + 8)))};
}

/* sum + four products in each of eight columns. Without VNNI, sums of two products of 16 bits must not
   saturate: |row| is at most 128 and |weight| at most 127, so they are at most 32512. */
INLINE __m256i dot(__m256i sum, __m256i row, __m256i weights) {
#ifdef VNNI
    return _mm256_dpbusd_avx_epi32(sum, row, weights);
#else
    __m256i twos = _mm256_maddubs_epi16(_mm256_abs_epi8(row), _mm256_sign_epi8(weights, row));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(twos, _mm256_set1_epi16(1)));
#endif
}

INLINE void dots(const int height, const int vectors, const uint8_t *rows, long stride, const int8_t *panel,
                 const int32_t *which, long groups, const ints *start, ints sum[][VECTORS]) {
    (void)vectors;
    __m256i left[TILE], right[TILE];
    UNROLL for (int r = 0; r < height; r++) {
        left[r] = start->a;
        right[r] = start->b;
    }
    const long whole = 64 * groups;
    for (long i = 0; i < groups; i++) {
        const long k = which ? which[i] : i;
        const int8_t *at = panel + 64 * k;
        __m256i a = _mm256_loadu_si256((const __m256i *)at);
        __m256i b = _mm256_loadu_si256((const __m256i *)at + 1);
        if (!which) __builtin_prefetch(at + whole, 0, 2); /* the next panel */
        UNROLL for (int r = 0; r < height; r++) {
            __m256i row = _mm256_set1_epi32(four_bytes(rows + r * stride + 4 * k));
            left[r] = dot(left[r], row, a);
            right[r] = dot(right[r], row, b);
        }
    }
    UNROLL for (int r = 0; r < height; r++) sum[r][0] = (ints){left[r], right[r]};
}

/* sum + two products in each of eight columns. */
INLINE __m256i word_dot(__m256i sum, __m256i row, __m256i weights) {
#ifdef VNNI
    return _mm256_dpwssd_avx_epi32(sum, row, weights);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(row, weights));
#endif
}

INLINE void word_dots(const int height, const int16_t *const *rows, long pairs, const int16_t *panel,
                      ints sum[][VECTORS]) {
    __m256i left[TILE], right[TILE];
    UNROLL for (int r = 0; r < height; r++)
        left[r] = right[r] = _mm256_setzero_si256();
    for (long k = 0; k < pairs; k++) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(panel + 32 * k));
        __m256i b = _mm256_loadu_si256((const __m256i *)(panel + 32 * k + 16));
        UNROLL for (int r = 0; r < height; r++) {
            __m256i row = _mm256_set1_epi32(two_words(rows[r] + 2 * k));
            left[r] = word_dot(left[r], row, a);
            right[r] = word_dot(right[r], row, b);
        }
    }
    UNROLL for (int r = 0; r < height; r++) sum[r][0] = (ints){left[r], right[r]};
}
