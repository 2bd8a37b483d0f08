/* Two parts of a Whisper in int8 on processors with AVX-512 VNNI: the encoder of one window, and the logits
   of some tokens.

   kernels.py loads this file, encoder_kernel.py and engine_vocabulary.py call it. Every other processor and
   every other compiler is left to ONNX Runtime: for them this compiles to a function that says "no".

   What makes it faster than a graph of operators: rows are normalised, turned into bytes, multiplied, put
   through GELU and turned into bytes again while they are in the cache, a block of BLOCK rows at a time; the
   scores of six queries never leave it; logits are summed up while they are in it. Products run at 93 % of
   what the processor can do (docs/performance.md).

   Every row of activations has its own scale and zero point, every column of weights its own scale. Keys
   lose their mean, a constant that softmax does not see (SageAttention, https://arxiv.org/abs/2410.02367), and
   have a scale each, values one per channel; softmax weights are bytes of their largest. */

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

/* 0 where it cannot run; else the version of its interface, which kernels.py compares with its own. */
int kernels_version(void) {
    int able = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    return able ? 1 : 0;
}

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vnni")
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 6")

enum {
    LANES = 16, /* numbers of a vector */
    TILE = 6,   /* rows of a tile: 24 sums, 4 vectors of weights and one of rows fit into 32 registers */
    PANEL = 64, /* columns of a tile */
    BLOCK = 48, /* rows that go through the linear layers together */
};

typedef __m512 floats;
typedef __m512i ints;

/* A matrix [k, n] in panels of PANEL columns (the last may be narrower, a multiple of LANES): of each panel
   four rows at a time, the four bytes of a column side by side. `sums`: column sums times `scale`. */
typedef struct {
    const int8_t *panels;
    const float *scale, *sums, *bias;
} Linear;

typedef struct {
    const float *weight, *bias;
} Norm;

typedef struct {
    long mels, positions, d, heads, ffn, layers;
} Shape;

/* Rows of bytes, and what a byte b of row r stands for: b * step[r] + zero[r]. */
typedef struct {
    uint8_t *bytes;
    float *step, *zero;
} Rows;

static long up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

static long least(long a, long b) { return a < b ? a : b; }

/* `whole` [k, n] from column `start` on, which begins a panel. */
static Linear columns_from(Linear whole, long start, long k) {
    Linear part = {whole.panels + start * k, whole.scale + start, whole.sums + start, whole.bias + start};
    return part;
}

/* ---- elementary functions ---- */

/* 2^x, relative error 3e-6; 0 where it underflows. */
INLINE floats exp2_of(floats x) {
    floats whole = _mm512_roundscale_ps(x, 0), f = _mm512_sub_ps(x, whole);
    floats y = _mm512_set1_ps(1.33335581e-3f);
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.61812911e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.55041087e-2f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.40226507e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.93147181e-1f));
    return _mm512_scalef_ps(_mm512_fmadd_ps(y, f, _mm512_set1_ps(1)), whole);
}

INLINE floats exp_of(floats x) { return exp2_of(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f))); }

/* x * Phi(x) with erf by Abramowitz and Stegun, 7.1.26. */
INLINE floats gelu_of(floats x) {
    floats one = _mm512_set1_ps(1), size = _mm512_abs_ps(x);
    floats z = _mm512_mul_ps(size, _mm512_set1_ps(0.70710678f));
    floats t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
    floats y = _mm512_set1_ps(1.061405429f);
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(-1.453152027f));
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(1.421413741f));
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(-0.284496736f));
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(0.254829592f));
    floats bell = exp_of(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
    floats erf = _mm512_fnmadd_ps(_mm512_mul_ps(y, t), bell, one);
    return _mm512_mul_ps(_mm512_set1_ps(0.5f), _mm512_fmadd_ps(size, erf, x));
}

static void gelu(float *x, long n) {
    for (long i = 0; i < n; i += LANES) _mm512_storeu_ps(x + i, gelu_of(_mm512_loadu_ps(x + i)));
}

/* to[i] += more[i] for n numbers. */
static void add(float *to, const float *more, long n) {
    for (long i = 0; i < n; i += LANES)
        _mm512_storeu_ps(to + i, _mm512_add_ps(_mm512_loadu_ps(to + i), _mm512_loadu_ps(more + i)));
}

static void clear(float *x, long n) {
    for (long i = 0; i < n; i++) x[i] = 0;
}

/* Layer normalisation of one row. */
static void norm(const float *x, long n, Norm with, float *out) {
    floats total = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (long i = 0; i < n; i += LANES) total = _mm512_add_ps(total, _mm512_loadu_ps(x + i));
    floats mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / n);
    for (long i = 0; i < n; i += LANES) {
        floats from = _mm512_sub_ps(_mm512_loadu_ps(x + i), mean);
        squares = _mm512_fmadd_ps(from, from, squares);
    }
    float spread = _mm512_reduce_add_ps(squares) / n + 1e-5f;
    floats scale = _mm512_div_ps(_mm512_set1_ps(1), _mm512_sqrt_ps(_mm512_set1_ps(spread)));
    for (long i = 0; i < n; i += LANES) {
        floats y = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), mean), scale);
        y = _mm512_fmadd_ps(y, _mm512_loadu_ps(with.weight + i), _mm512_loadu_ps(with.bias + i));
        _mm512_storeu_ps(out + i, y);
    }
}

/* ---- bytes ---- */

INLINE __m128i unsigned_bytes(ints x) {
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(x, _mm512_setzero_si512()));
}

/* The row `x` [n] as row r of `to`; its range takes zero in, as DynamicQuantizeLinear's does. */
static void quantise(const float *x, long n, Rows to, long r, long stride) {
    floats low = _mm512_setzero_ps(), high = _mm512_setzero_ps();
    for (long i = 0; i < n; i += LANES) {
        floats v = _mm512_loadu_ps(x + i);
        low = _mm512_min_ps(low, v);
        high = _mm512_max_ps(high, v);
    }
    float least = _mm512_reduce_min_ps(low), step = (_mm512_reduce_max_ps(high) - least) / 255;
    if (!(step > 0)) step = 1;
    floats inverse = _mm512_set1_ps(1 / step);
    int middle = _mm_cvtss_si32(_mm_set_ss(-least / step));
    ints zero = _mm512_set1_epi32(middle);
    for (long i = 0; i < n; i += LANES) {
        ints q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inverse));
        _mm_storeu_si128((__m128i *)(to.bytes + r * stride + i), unsigned_bytes(_mm512_add_epi32(q, zero)));
    }
    to.step[r] = step;
    to.zero[r] = -step * middle;
}

/* ---- products ---- */

/* TILE rows of bytes times a panel of `vectors` * LANES columns. */
INLINE void tile(const int vectors, Rows a, long lda, const int8_t *panel, long fours, Linear with,
                 float *out, long ldo) {
    ints sum[TILE][4];
    UNROLL for (int r = 0; r < TILE; r++)
        UNROLL for (int j = 0; j < vectors; j++)
            sum[r][j] = _mm512_setzero_si512();
    const long whole = 64 * vectors * fours;
    for (long k = 0; k < fours; k++) {
        ints weights[4];
        UNROLL for (int j = 0; j < vectors; j++) {
            weights[j] = _mm512_loadu_si512(panel + 64 * j);
            _mm_prefetch((const char *)panel + whole + 64 * j, _MM_HINT_T1); /* the next panel */
        }
        panel += 64 * vectors;
        UNROLL for (int r = 0; r < TILE; r++) {
            ints row = _mm512_set1_epi32(*(const int32_t *)(a.bytes + r * lda + 4 * k));
            UNROLL for (int j = 0; j < vectors; j++)
                sum[r][j] = _mm512_dpbusd_epi32(sum[r][j], row, weights[j]);
        }
    }
    UNROLL for (int j = 0; j < vectors; j++) {
        floats scale = _mm512_loadu_ps(with.scale + LANES * j), sums = _mm512_loadu_ps(with.sums + LANES * j);
        floats bias = _mm512_loadu_ps(with.bias + LANES * j);
        UNROLL for (int r = 0; r < TILE; r++) {
            floats rest = _mm512_fmadd_ps(_mm512_set1_ps(a.zero[r]), sums, bias);
            floats y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[r][j]), _mm512_set1_ps(a.step[r]));
            _mm512_storeu_ps(out + r * ldo + LANES * j, _mm512_fmadd_ps(y, scale, rest));
        }
    }
}

/* `rows` rows of k bytes times `with` [k, n], out [rows, ldo]; rows a multiple of TILE, k of four. */
static void product(Rows a, long rows, long lda, long k, long n, Linear with, float *out, long ldo) {
    for (long c = 0; c < n; c += PANEL) {
        Linear part = columns_from(with, c, k);
        for (long r = 0; r < rows; r += TILE) {
            Rows some = {a.bytes + r * lda, a.step + r, a.zero + r};
            float *to = out + r * ldo + c;
            switch (n - c >= PANEL ? 4 : (n - c) / LANES) {
            case 4: tile(4, some, lda, part.panels, k / 4, part, to, ldo); break;
            case 3: tile(3, some, lda, part.panels, k / 4, part, to, ldo); break;
            case 2: tile(2, some, lda, part.panels, k / 4, part, to, ldo); break;
            default: tile(1, some, lda, part.panels, k / 4, part, to, ldo);
            }
        }
    }
}

/* ---- attention ---- */

/* Keys and values of one head as matrices, and what it takes to fill them. */
typedef struct {
    int8_t *keys, *values;
    float *key_scale, *key_sums, *key_bias, *value_scale, *zeros;
    Rows queries, weights;
    float *scores;
} Head;

/* Column means of `x` [n, width]. */
static void means(const float *x, long n, long stride, long width, float *out) {
    for (long c = 0; c < width; c += LANES) {
        floats total = _mm512_setzero_ps();
        for (long i = 0; i < n; i++) total = _mm512_add_ps(total, _mm512_loadu_ps(x + i * stride + c));
        _mm512_storeu_ps(out + c, _mm512_div_ps(total, _mm512_set1_ps(n)));
    }
}

/* Keys [n, width] without their mean, as the columns of a matrix [width, n up to a multiple of LANES]. */
static void pack_keys(const float *x, long n, long stride, long width, Head head) {
    float mean[PANEL];
    int32_t row[PANEL / 4];
    long columns = up(n, LANES);
    means(x, n, stride, width, mean);
    for (long i = 0; i < columns; i++) {
        floats top = _mm512_setzero_ps();
        ints sum = _mm512_setzero_si512();
        const float *key = x + i * stride;
        long start = i / PANEL * PANEL, panel = least(columns - start, PANEL);
        floats centred[PANEL / LANES] = {_mm512_setzero_ps()};
        for (long c = 0; i < n && c < width; c += LANES) {
            centred[c / LANES] = _mm512_sub_ps(_mm512_loadu_ps(key + c), _mm512_loadu_ps(mean + c));
            top = _mm512_max_ps(top, _mm512_abs_ps(centred[c / LANES]));
        }
        float most = _mm512_reduce_max_ps(top);
        floats inverse = _mm512_set1_ps(most > 0 ? 127 / most : 0);
        for (long c = 0; c < width; c += LANES) {
            ints q = _mm512_cvtps_epi32(_mm512_mul_ps(centred[c / LANES], inverse));
            sum = _mm512_add_epi32(sum, q);
            _mm_storeu_si128((__m128i *)((int8_t *)row + c), _mm512_cvtepi32_epi8(q));
        }
        int32_t *to = (int32_t *)(head.keys + start * width) + (i - start);
        for (long four = 0; four < width / 4; four++) to[four * panel] = row[four];
        head.key_scale[i] = most / 127;
        head.key_sums[i] = head.key_scale[i] * _mm512_reduce_add_epi32(sum);
        head.key_bias[i] = i < n ? 0 : -1e30f;
    }
}

/* Values [n, width] as a matrix [n up to a multiple of four, width]. */
static void pack_values(const float *x, long n, long stride, long width, Head head) {
    for (long c = 0; c < width; c += LANES) {
        floats top = _mm512_set1_ps(1e-30f);
        for (long i = 0; i < n; i++)
            top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_loadu_ps(x + i * stride + c)));
        floats inverse = _mm512_div_ps(_mm512_set1_ps(127), top);
        _mm512_storeu_ps(head.value_scale + c, _mm512_mul_ps(top, _mm512_set1_ps(1.0f / 127)));
        for (long i = 0; i < n; i += 4) {
            ints four = _mm512_setzero_si512();
            for (long j = 0; j < 4 && i + j < n; j++) {
                floats value = _mm512_loadu_ps(x + (i + j) * stride + c);
                ints q = _mm512_cvtps_epi32(_mm512_mul_ps(value, inverse));
                q = _mm512_and_si512(q, _mm512_set1_epi32(255));
                four = _mm512_or_si512(four, _mm512_sllv_epi32(q, _mm512_set1_epi32(8 * j)));
            }
            _mm512_storeu_si512(head.values + i * width + 4 * c, four);
        }
    }
}

/* A query as bytes around 128; its step is in units of log 2, so that scores are exponents of two. */
static void pack_query(const float *x, long width, Rows to, long r) {
    floats top = _mm512_setzero_ps();
    for (long c = 0; c < width; c += LANES) top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_loadu_ps(x + c)));
    float most = _mm512_reduce_max_ps(top);
    floats inverse = _mm512_set1_ps(most > 0 ? 127 / most : 0);
    for (long c = 0; c < width; c += LANES) {
        ints q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + c), inverse));
        _mm_storeu_si128((__m128i *)(to.bytes + r * width + c),
                         unsigned_bytes(_mm512_add_epi32(q, _mm512_set1_epi32(128))));
    }
    to.step[r] = most / 127 * 1.44269504f;
    to.zero[r] = -128 * to.step[r];
}

/* Powers of two of the scores [n] as bytes of the largest; their step makes them sum to one. */
static void softmax(const float *scores, long n, Rows to, long r) {
    floats top = _mm512_loadu_ps(scores);
    for (long i = LANES; i < n; i += LANES) top = _mm512_max_ps(top, _mm512_loadu_ps(scores + i));
    floats most = _mm512_set1_ps(_mm512_reduce_max_ps(top)), levels = _mm512_set1_ps(255);
    ints sum = _mm512_setzero_si512();
    for (long i = 0; i < n; i += LANES) {
        floats weight = exp2_of(_mm512_sub_ps(_mm512_loadu_ps(scores + i), most));
        ints q = _mm512_cvtps_epi32(_mm512_mul_ps(weight, levels));
        sum = _mm512_add_epi32(sum, q);
        _mm_storeu_si128((__m128i *)(to.bytes + r * n + i), _mm512_cvtusepi32_epi8(q));
    }
    to.step[r] = 1.0f / _mm512_reduce_add_epi32(sum);
    to.zero[r] = 0;
}

/* One head: queries, keys and values are `width` columns of `qkv` [positions, 3 * d] each; sums into `out`. */
static void attend(const float *qkv, const Shape *shape, long h, Head head, float *out) {
    long n = shape->positions, d = shape->d, width = d / shape->heads, columns = up(n, LANES);
    const float *queries = qkv + h * width;
    pack_keys(queries + d, n, 3 * d, width, head);
    pack_values(queries + 2 * d, n, 3 * d, width, head);
    Linear keys = {head.keys, head.key_scale, head.key_sums, head.key_bias};
    Linear values = {head.values, head.value_scale, head.zeros, head.zeros};
    for (long i = 0; i < n; i += TILE) {
        for (long r = 0; r < TILE; r++) pack_query(queries + (i + r) * 3 * d, width, head.queries, r);
        product(head.queries, TILE, width, width, columns, keys, head.scores, columns);
        for (long r = 0; r < TILE; r++) softmax(head.scores + r * columns, columns, head.weights, r);
        product(head.weights, TILE, columns, up(n, 4), width, values, out + i * d + h * width, d);
    }
}

/* ---- the encoder ---- */

typedef struct {
    float *sound, *stem, *x, *qkv, *attended, *wide, *narrow;
    Rows rows;
    Head head;
} Buffers;

static void *take(char **at, long bytes) {
    void *found = *at;
    *at += up(bytes, 64);
    return found;
}

static float *take_floats(char **at, long n) { return take(at, n * sizeof(float)); }

static Rows take_rows(char **at, long rows, long n) {
    Rows made = {take(at, rows * n), take_floats(at, rows), take_floats(at, rows)};
    return made;
}

static long most_of(long a, long b, long c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }

/* Buffers from `base` on; where they end. Those of the stem lie where the layers have theirs. */
static char *lay_out(const Shape *s, char *base, Buffers *to) {
    long rows = up(s->positions, TILE), frames = up(2 * s->positions, TILE) + 2 * TILE + 2,
         width = s->d / s->heads;
    long columns = up(s->positions, LANES), widest = most_of(3 * s->d, 3 * s->mels, s->ffn);
    to->x = take_floats(&base, rows * s->d);
    char *behind = base;
    to->sound = take_floats(&behind, frames * s->mels);
    to->stem = take_floats(&behind, frames * s->d);
    to->qkv = take_floats(&base, rows * 3 * s->d);
    to->attended = take_floats(&base, rows * s->d);
    if (base < behind) base = behind;
    to->wide = take_floats(&base, BLOCK * s->ffn);
    to->narrow = take_floats(&base, BLOCK * s->d);
    to->rows = take_rows(&base, BLOCK, widest);
    to->head.keys = take(&base, columns * width);
    to->head.values = take(&base, up(s->positions, 4) * width);
    to->head.key_scale = take_floats(&base, columns);
    to->head.key_sums = take_floats(&base, columns);
    to->head.key_bias = take_floats(&base, columns);
    to->head.value_scale = take_floats(&base, width);
    to->head.zeros = take_floats(&base, width);
    to->head.queries = take_rows(&base, TILE, width);
    to->head.weights = take_rows(&base, TILE, columns);
    to->head.scores = take_floats(&base, TILE * columns);
    return base;
}

/* Bytes of scratch memory for encoder_run, zeros at first; one piece for each thread. */
long encoder_scratch(const Shape *shape) {
    Buffers none;
    return lay_out(shape, 0, &none) - (char *)0;
}

static Linear next_linear(const void *const **weights) {
    Linear found = {(*weights)[0], (*weights)[1], (*weights)[2], (*weights)[3]};
    *weights += 4;
    return found;
}

static Norm next_norm(const void *const **weights) {
    Norm found = {(*weights)[0], (*weights)[1]};
    *weights += 2;
    return found;
}

/* A convolution over three neighbours, and GELU: output row t from the `3 * width` numbers of `x` from row
   `stride` * t on. */
static void convolve(const float *x, long width, long stride, long count, Linear with, long n, float *out,
                     Rows rows) {
    for (long t = 0; t < count; t += BLOCK) {
        long some = least(BLOCK, count - t), k = 3 * width;
        for (long r = 0; r < some; r++) quantise(x + (t + r) * stride * width, k, rows, r, k);
        product(rows, some, k, k, n, with, out + t * n, n);
        gelu(out + t * n, some * n);
    }
}

static void stem(const Shape *s, const void *const **weights, const float *log_mel, Buffers *b) {
    long frames = 2 * s->positions, d = s->d;
    clear(b->sound, s->mels); /* frame t is row t + 1: a row of zeros before the first and behind the last */
    clear(b->sound + (frames + 1) * s->mels, s->mels);
    for (long m = 0; m < s->mels; m++)
        for (long t = 0; t < frames; t++) b->sound[(t + 1) * s->mels + m] = log_mel[m * frames + t];
    Linear first = next_linear(weights), second = next_linear(weights);
    const float *places = *(*weights)++;
    convolve(b->sound, s->mels, 1, up(frames, TILE), first, d, b->stem + d, b->rows);
    clear(b->stem, d); /* behind the last frame none is heard: every second one is the middle of three */
    convolve(b->stem, d, 2, up(s->positions, TILE), second, d, b->x, b->rows);
    add(b->x, places, s->positions * d);
}

/* x += out(attended), then x += narrower(gelu(wider(norm(x)))), for `some` rows. */
static void feed_forward(const Shape *s, Buffers *b, float *x, const float *attended, long some, Linear out,
                         Norm with, Linear wider, Linear narrower) {
    long d = s->d;
    for (long r = 0; r < some; r++) quantise(attended + r * d, d, b->rows, r, d);
    product(b->rows, some, d, d, d, out, b->narrow, d);
    add(x, b->narrow, some * d);
    for (long r = 0; r < some; r++) {
        norm(x + r * d, d, with, b->narrow);
        quantise(b->narrow, d, b->rows, r, d);
    }
    product(b->rows, some, d, d, s->ffn, wider, b->wide, s->ffn);
    gelu(b->wide, some * s->ffn);
    for (long r = 0; r < some; r++) quantise(b->wide + r * s->ffn, s->ffn, b->rows, r, s->ffn);
    product(b->rows, some, s->ffn, s->ffn, d, narrower, b->narrow, d);
    add(x, b->narrow, some * d);
}

static void layer(const Shape *s, const void *const **weights, Buffers *b) {
    long d = s->d, rows = up(s->positions, TILE);
    Norm before = next_norm(weights);
    Linear query = next_linear(weights), key_value = next_linear(weights), out = next_linear(weights);
    Norm between = next_norm(weights);
    Linear wider = next_linear(weights), narrower = next_linear(weights);
    for (long t = 0; t < rows; t += BLOCK) {
        long some = least(BLOCK, rows - t);
        for (long r = 0; r < some; r++) {
            norm(b->x + (t + r) * d, d, before, b->narrow);
            quantise(b->narrow, d, b->rows, r, d);
        }
        product(b->rows, some, d, d, d, query, b->qkv + t * 3 * d, 3 * d);
        product(b->rows, some, d, d, 2 * d, key_value, b->qkv + t * 3 * d + d, 3 * d);
    }
    for (long h = 0; h < s->heads; h++) attend(b->qkv, s, h, b->head, b->attended);
    for (long t = 0; t < rows; t += BLOCK)
        feed_forward(s, b, b->x + t * d, b->attended + t * d, least(BLOCK, rows - t), out, between, wider,
                     narrower);
}

/* Log-mel [mels, 2 * positions] to hidden states [positions, d]. `weights`: four arrays of each linear layer
   (panels, scale, sums, bias), two of each norm, in the order of the computation. d and ffn are multiples of
   16 and of the panels, d / heads at most 64. */
void encoder_run(const Shape *shape, const void *const *weights, const float *log_mel, float *hidden,
                 char *scratch) {
    Buffers b;
    lay_out(shape, scratch, &b);
    stem(shape, &weights, log_mel, &b);
    for (long i = 0; i < shape->layers; i++) layer(shape, &weights, &b);
    Norm last = next_norm(&weights);
    for (long t = 0; t < shape->positions; t++)
        norm(b.x + t * shape->d, shape->d, last, hidden + t * shape->d);
}

/* ---- the vocabulary ---- */

typedef struct {
    Rows rows;
    float *top, *sum; /* of each row, LANES of them */
} Choice;

static char *lay_out_choice(long count, long d, char *base, Choice *to) {
    long rows = up(count, TILE);
    to->rows = take_rows(&base, rows, d);
    to->top = take_floats(&base, rows * LANES);
    to->sum = take_floats(&base, rows * LANES);
    return base;
}

/* Bytes of scratch memory for vocabulary_run. */
long vocabulary_scratch(long count, long d) {
    Choice none;
    return lay_out_choice(count, d, 0, &none) - (char *)0;
}

/* Takes `n` logits, a multiple of LANES, into a row's largest so far and the sum of its exponentials, both
   lane by lane. */
static void sum_up(const float *logits, long n, float *top, float *sum) {
    floats before = _mm512_loadu_ps(top), now = before;
    for (long i = 0; i < n; i += LANES) now = _mm512_max_ps(now, _mm512_loadu_ps(logits + i));
    floats total = _mm512_mul_ps(_mm512_loadu_ps(sum), exp_of(_mm512_sub_ps(before, now)));
    for (long i = 0; i < n; i += LANES)
        total = _mm512_add_ps(total, exp_of(_mm512_sub_ps(_mm512_loadu_ps(logits + i), now)));
    _mm512_storeu_ps(top, now);
    _mm512_storeu_ps(sum, total);
}

/* States [count, d] to logits [count up to a multiple of TILE, stride] of `tokens` tokens, a multiple of
   LANES, and the largest of each row and the sum of exp(logit - largest), [count, 2]. `weights` as those of a
   linear layer of encoder_run. */
void vocabulary_run(long count, long d, long tokens, const void *const *weights, const float *states,
                    float *logits, long stride, float *norm, char *scratch) {
    Choice b;
    lay_out_choice(count, d, scratch, &b);
    Linear table = next_linear(&weights);
    for (long r = 0; r < count; r++) {
        quantise(states + r * d, d, b.rows, r, d);
        _mm512_storeu_ps(b.top + r * LANES, _mm512_set1_ps(-3e38f));
        _mm512_storeu_ps(b.sum + r * LANES, _mm512_setzero_ps());
    }
    for (long c = 0; c < tokens; c += PANEL) {
        long some = least(PANEL, tokens - c);
        product(b.rows, up(count, TILE), d, d, some, columns_from(table, c, d), logits + c, stride);
        for (long r = 0; r < count; r++)
            sum_up(logits + r * stride + c, some, b.top + r * LANES, b.sum + r * LANES);
    }
    for (long r = 0; r < count; r++) {
        floats top = _mm512_loadu_ps(b.top + r * LANES), sum = _mm512_loadu_ps(b.sum + r * LANES);
        norm[2 * r] = _mm512_reduce_max_ps(top);
        floats share = exp_of(_mm512_sub_ps(top, _mm512_set1_ps(norm[2 * r])));
        norm[2 * r + 1] = _mm512_reduce_add_ps(_mm512_mul_ps(sum, share));
    }
}

#pragma GCC pop_options

#else

int kernels_version(void) { return 0; }

#endif
