/* Silero's voice activity network (v6, 16 kHz): probabilities of speech of consecutive chunks.

   Products are of 16-bit integers: weights have a scale per column, activations one per chunk, such that no sum
   leaves 32 bits (tools/silero). */

enum {
    CHUNK = 512,        /* samples per probability */
    EDGE = 64,          /* samples reflected at either end of a chunk */
    HOP = 128,          /* samples between frames */
    FRAME = 2 * HOP,    /* samples of a frame */
    FRAMES = 4,         /* of a chunk */
    BINS = HOP + 1,     /* magnitudes of a frame */
    SOUND = BINS + 1,   /* the same, padded to pairs */
    STATE = 128,        /* hidden units of the LSTM; outputs of the first and the last convolution */
    INNER = 64,         /* outputs of the two between */
    GATES = 4 * STATE,  /* input, forget, cell, output */
    TOGETHER = 12,      /* chunks, so that the tiles of all layers are full */
    TOP = (1 << 14) - 1 /* largest integer of an activation */
};

/* `window` [FRAME] is half a Hann window. The roots of unity are cosines and sines: `twiddles` [3 * 42] of each
   butterfly of four, `halves` [HOP / 2 + 1] of the last step. */
typedef struct {
    const float *window, *twiddles, *halves;
} Fourier;

/* A matrix [k, n] in panels of PANEL columns, with pairs of a column's words adjacent. A value is its word times
   the column's `scale`. */
typedef struct {
    const int16_t *panels;
    const float *scale, *bias;
} Words;

static Words next_words(const void *const **weights) {
    Words found = {(*weights)[0], (*weights)[1], (*weights)[2]};
    *weights += 3;
    return found;
}

/* Scratch memory of TOGETHER chunks. */
typedef struct {
    float *even, *odd;         /* [FRAME, LANES] each: frames side by side, as complex numbers */
    float *wide;               /* the values of a layer */
    float *steps, *gates;      /* [rows], [TOGETHER, GATES] */
    int16_t *words;            /* the values before a layer, quantised */
    const int16_t **rows;      /* where a layer's rows begin */
} Network;

static uintptr_t lay_out_network(uintptr_t base, Network *to) {
    to->even = take_floats(&base, FRAME * LANES);
    to->odd = take_floats(&base, FRAME * LANES);
    to->wide = take_floats(&base, TOGETHER * FRAMES * STATE);
    to->steps = take_floats(&base, TOGETHER * FRAMES);
    to->gates = take_floats(&base, TOGETHER * GATES);
    to->words = take(&base, TOGETHER * (FRAMES + 2) * SOUND * (long)sizeof(int16_t));
    to->rows = take(&base, TOGETHER * FRAMES * (long)sizeof(int16_t *));
    return base;
}

/* Bytes of scratch memory for silero_run. */
long SET(silero_scratch)(void) {
    Network none;
    return (long)lay_out_network(0, &none);
}

/* `height` rows of k words times the panel at column c, for rows with a step each. */
INLINE void word_tile(const int height, const int16_t *const *rows, const float *steps, long k, Words with, long c,
                      float *out, long n) {
    ints sum[TILE][VECTORS];
    word_dots(height, rows, k / 2, with.panels + c * k, sum);
    UNROLL for (int j = 0; j < VECTORS; j++) {
        floats scale = f_load(with.scale + c + LANES * j), bias = f_load(with.bias + c + LANES * j);
        UNROLL for (int i = 0; i < height; i++) {
            floats y = f_mul(i_floats(sum[i][j]), f_set(steps[i]));
            f_store(out + i * n + c + LANES * j, f_fma(y, scale, bias));
        }
    }
}

#define WORD_STRIP(name, height)                                                                               \
    static __attribute__((noinline)) void name(const int16_t *const *rows, const float *steps, long k,          \
                                               Words with, long c, float *out, long n) {                        \
        word_tile(height, rows, steps, k, with, c, out, n);                                                     \
    }
EACH_HEIGHT(WORD_STRIP, words_of)

/* `count` rows of k words times `with` [k, n]; n is a multiple of PANEL. */
static void word_product(const int16_t *const *rows, const float *steps, long count, long k, long n, Words with,
                         float *out) {
    for (long c = 0; c < n; c += PANEL)
        for (long r = 0, some; r < count; r += some) {
            some = rows_of(count - r);
            OF_HEIGHT(words_of, some)(rows + r, steps + r, k, with, c, out + r * n, n);
        }
}

/* Quantise n positive numbers, of which `top` is the largest; returns the value of one. */
static float to_words(const float *x, long n, float top, int16_t *to) {
    float step = top > 0 ? top / TOP : 1;
    floats inverse = f_set(1 / step);
    for (long i = 0; i < n; i += LANES) i_store_words(to + i, f_round(f_mul(f_load(x + i), inverse)));
    return step;
}

/* Negative numbers become 0; returns the largest. */
static float rectified(float *x, long n) {
    floats top = f_set(0);
    for (long i = 0; i < n; i += LANES) {
        floats y = f_max(f_load(x + i), f_set(0));
        f_store(x + i, y);
        top = f_max(top, y);
    }
    return f_largest(top);
}

/* The chunk's sample i, from -EDGE to CHUNK + EDGE - 1. */
INLINE float reflected(const float *chunk, long i) {
    return chunk[i < 0 ? -i : i < CHUNK ? i : 2 * CHUNK - 2 - i];
}

/* Frames of up to LANES / FRAMES chunks side by side, as complex numbers of two samples, weighted. */
static void frames_of(const float *chunks, long count, const float *window, float *to) {
    if (count * FRAMES < LANES) clear(to, FRAME * LANES);
    for (long chunk = 0; chunk < count; chunk++, chunks += CHUNK)
        for (long frame = 0; frame < FRAMES; frame++) {
            float *lane = to + chunk * FRAMES + frame;
            long start = frame * HOP - EDGE;
            if (frame > 0 && frame < FRAMES - 1)
                for (long i = 0; i < FRAME; i++) lane[i * LANES] = chunks[start + i];
            else
                for (long i = 0; i < FRAME; i++) lane[i * LANES] = reflected(chunks, start + i);
        }
    for (long i = 0; i < FRAME; i++)
        f_store(to + i * LANES, f_mul(f_load(to + i * LANES), f_set(window[i])));
}

typedef struct {
    floats real, imaginary;
} Complex;

INLINE Complex c_load(const float *from, long i) {
    Complex found = {f_load(from + 2 * i * LANES), f_load(from + (2 * i + 1) * LANES)};
    return found;
}
INLINE void c_store(float *to, long i, Complex x) {
    f_store(to + 2 * i * LANES, x.real);
    f_store(to + (2 * i + 1) * LANES, x.imaginary);
}
INLINE Complex c_add(Complex x, Complex y) {
    Complex sum = {f_add(x.real, y.real), f_add(x.imaginary, y.imaginary)};
    return sum;
}
INLINE Complex c_sub(Complex x, Complex y) {
    Complex rest = {f_sub(x.real, y.real), f_sub(x.imaginary, y.imaginary)};
    return rest;
}
INLINE Complex c_mul(Complex x, const float *by) {
    floats a = f_set(by[0]), b = f_set(by[1]);
    Complex y = {f_sub(f_mul(x.real, a), f_mul(x.imaginary, b)), f_add(f_mul(x.real, b), f_mul(x.imaginary, a))};
    return y;
}

/* One pass of the transform (Stockham): `parts` times four numbers, that far apart, for each of `stride`. */
static void fours(const float *from, float *to, long parts, long stride, const float *twiddles) {
    for (long p = 0; p < parts; p++, twiddles += 6)
        for (long q = 0; q < stride; q++) {
            long at = q + stride * p, apart = stride * parts, put = q + stride * 4 * p;
            Complex a = c_load(from, at), b = c_load(from, at + apart);
            Complex c = c_load(from, at + 2 * apart), d = c_load(from, at + 3 * apart);
            Complex even = c_add(a, c), odd = c_sub(a, c), sum = c_add(b, d), rest = c_sub(b, d);
            Complex one = {f_add(odd.real, rest.imaginary), f_sub(odd.imaginary, rest.real)};
            Complex three = {f_sub(odd.real, rest.imaginary), f_add(odd.imaginary, rest.real)};
            c_store(to, put, c_add(even, sum));
            c_store(to, put + stride, c_mul(one, twiddles));
            c_store(to, put + 2 * stride, c_mul(c_sub(even, sum), twiddles + 2));
            c_store(to, put + 3 * stride, c_mul(three, twiddles + 4));
        }
}

INLINE floats size_of(floats real, floats imaginary) {
    return f_sqrt(f_add(f_mul(real, real), f_mul(imaginary, imaginary)));
}

/* Magnitudes [BINS, LANES] of the frames in b.even, in b.odd; of each lane the largest. */
static floats spectrum(Network b, Fourier with) {
    fours(b.even, b.odd, 32, 1, with.twiddles);
    fours(b.odd, b.even, 8, 4, with.twiddles + 32 * 6);
    fours(b.even, b.odd, 2, 16, with.twiddles + 40 * 6);
    for (long q = 0; q < HOP / 2; q++) {
        Complex x = c_load(b.odd, q), y = c_load(b.odd, q + HOP / 2);
        c_store(b.even, q, c_add(x, y));
        c_store(b.even, q + HOP / 2, c_sub(x, y));
    }
    floats top = f_set(0);
    for (long k = 0; k <= HOP / 2; k++) { /* two samples were one complex number: take them apart */
        Complex x = c_load(b.even, k), y = c_load(b.even, (HOP - k) % HOP);
        y.imaginary = f_sub(f_set(0), y.imaginary);
        Complex sum = c_add(x, y), turned = c_mul(c_sub(x, y), with.halves + 2 * k);
        floats low = size_of(f_add(sum.real, turned.imaginary), f_sub(sum.imaginary, turned.real));
        floats high = size_of(f_sub(sum.real, turned.imaginary), f_add(sum.imaginary, turned.real));
        f_store(b.odd + k * LANES, low);
        f_store(b.odd + (HOP - k) * LANES, high);
        top = f_max(top, f_max(low, high));
    }
    return top;
}

/* Quantise the magnitudes [BINS, LANES] in b.odd to rows [FRAMES + 2, SOUND] of `count` chunks, the first and the
   last of which are zeros; all frames of a chunk have one step. */
static void sound_to_words(Network b, long count, floats top, int16_t *words, float *steps) {
    float tops[LANES];
    int32_t levels[LANES];
    f_store(tops, top);
    for (long chunk = 0; chunk < count; chunk++) {
        float *of = tops + chunk * FRAMES, most = 0;
        for (long i = 0; i < FRAMES; i++) most = most > of[i] ? most : of[i];
        for (long i = 0; i < FRAMES; i++) steps[chunk * FRAMES + i] = of[i] = most > 0 ? most / TOP : 1;
    }
    floats inverse = f_div(f_set(1), f_load(tops));
    for (long k = 0; k < BINS; k++) {
        i_store(levels, f_round(f_mul(f_load(b.odd + k * LANES), inverse)));
        int16_t *to = words + SOUND + k;
        for (long chunk = 0; chunk < count; chunk++, to += 2 * SOUND)
            for (long i = 0; i < FRAMES; i++, to += SOUND) *to = (int16_t)levels[chunk * FRAMES + i];
    }
}

/* The first layer's rows of `count` chunks. */
static void sound(const float *chunks, long count, Fourier with, Network b) {
    const long batch = LANES / FRAMES, words = (FRAMES + 2) * SOUND;
    __builtin_memset(b.words, 0, (size_t)(count * words) * sizeof *b.words);
    for (long at = 0; at < count; at += batch) {
        long some = least(batch, count - at);
        frames_of(chunks + at * CHUNK, some, with.window, b.even);
        sound_to_words(b, some, spectrum(b, with), b.words + at * words, b.steps + at * FRAMES);
    }
    for (long r = 0; r < count * FRAMES; r++) b.rows[r] = b.words + r / FRAMES * words + r % FRAMES * SOUND;
}

/* Quantise what a layer gave, `n` numbers for each of `count` chunks, behind `before` zeros. Of each chunk the
   next layer reads `rows` rows, `apart` words apart. */
static void hand_on(Network b, long count, long n, long before, long rows, long apart) {
    for (long chunk = 0; chunk < count; chunk++) {
        int16_t *words = b.words + chunk * (before + n);
        float *x = b.wide + chunk * n;
        __builtin_memset(words, 0, (size_t)before * sizeof *words);
        float step = to_words(x, n, rectified(x, n), words + before);
        for (long r = 0; r < rows; r++) {
            b.rows[chunk * rows + r] = words + r * apart;
            b.steps[chunk * rows + r] = step;
        }
    }
}

/* sigmoid(x) * tanh(y). */
INLINE floats gated(floats x, floats y) {
    floats a = exp2_of(f_min(f_mul(x, f_set(-LOG2_E)), f_set(60)));
    floats b = exp2_of(f_min(f_mul(y, f_set(-2 * LOG2_E)), f_set(60)));
    return f_div(f_sub(f_set(1), b), f_mul(f_add(f_set(1), a), f_add(f_set(1), b)));
}

INLINE floats sigmoid(floats x) {
    floats a = exp2_of(f_min(f_mul(x, f_set(-LOG2_E)), f_set(60)));
    return f_div(f_set(1), f_add(f_set(1), a));
}

/* One step of the LSTM with the sums of its gates; updates `hidden` and `cell`; returns the output layer's sum. */
static float next_state(const float *gates, float *hidden, float *cell, const float *last) {
    floats sum = f_set(0);
    for (long i = 0; i < STATE; i += LANES) {
        floats c = f_mul(sigmoid(f_load(gates + STATE + i)), f_load(cell + i));
        c = f_add(c, gated(f_load(gates + i), f_load(gates + 2 * STATE + i)));
        floats h = gated(f_load(gates + 3 * STATE + i), c);
        f_store(cell + i, c);
        f_store(hidden + i, h);
        sum = f_fma(f_max(h, f_set(0)), f_load(last + i), sum);
    }
    return f_sum(sum);
}

/* The gates [STATE * 4] with the hidden state behind them. */
static void add_back(const float *hidden, Words back, Network b, const float *gates, float *out) {
    const float step = 1;
    const int16_t *row = b.words;
    for (long i = 0; i < STATE; i += LANES)
        i_store_words(b.words + i, f_round(f_mul(f_load(hidden + i), f_set(TOP))));
    back.bias = gates;
    word_product(&row, &step, 1, STATE, GATES, back, out);
}

/* Probabilities [count] of `chunks` [count, CHUNK]; `state` is the LSTM's hidden state and cell [2, STATE], before
   and after. `weights` are the arrays of Fourier, then `panels`, `scale` and `bias` of the four convolutions, the
   LSTM's input and its hidden state (no bias), then weights [STATE] and bias [1] of the output. */
void SET(silero_run)(long count, const void *const *weights, const float *chunks, float *state, float *chances,
                     char *scratch) {
    Network b;
    lay_out_network((uintptr_t)scratch, &b);
    Fourier with = {weights[0], weights[1], weights[2]};
    weights += 3;
    Words first = next_words(&weights), second = next_words(&weights), third = next_words(&weights);
    Words fourth = next_words(&weights), onto = next_words(&weights), back = next_words(&weights);
    const float *last = weights[0], *bias = weights[1];
    for (long at = 0; at < count; at += TOGETHER) {
        long some = least(TOGETHER, count - at);
        sound(chunks + at * CHUNK, some, with, b);
        word_product(b.rows, b.steps, some * FRAMES, 3 * SOUND, STATE, first, b.wide);
        hand_on(b, some, FRAMES * STATE, STATE, 2, 2 * STATE); /* steps of two: the last meets no zeros */
        word_product(b.rows, b.steps, some * 2, 3 * STATE, INNER, second, b.wide);
        hand_on(b, some, 2 * INNER, 0, 1, 0); /* two of three taps, then one: the others meet zeros */
        word_product(b.rows, b.steps, some, 2 * INNER, INNER, third, b.wide);
        hand_on(b, some, INNER, 0, 1, 0);
        word_product(b.rows, b.steps, some, INNER, STATE, fourth, b.wide);
        hand_on(b, some, STATE, 0, 1, 0);
        word_product(b.rows, b.steps, some, STATE, GATES, onto, b.gates);
        for (long t = 0; t < some; t++) {
            float found[LANES];
            add_back(state, back, b, b.gates + t * GATES, b.wide);
            float sum = next_state(b.wide, state, state + STATE, last) + *bias;
            f_store(found, sigmoid(f_set(sum)));
            chances[at + t] = found[0];
        }
    }
}
