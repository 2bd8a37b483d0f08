/* The encoder of one window. */

typedef struct {
    long mels, positions, d, heads, ffn, layers;
} Shape;

typedef struct {
    float *sound, *stem, *x, *queries, *keys, *values, *attended, *bias;
    Rows rows; /* [positions, d] */
    Block block;
    Head head;
    Listening listening;
} Buffers;

/* Number of heads whose columns fill whole panels; their queries, keys and values are projected together. */
static long heads_together(const Shape *s) {
    long heads = 1;
    while (heads * (s->d / s->heads) % PANEL) heads++;
    return least(heads, s->heads);
}

/* Allocate buffers from `base` on; returns their end. The buffers of the stem share memory with those of
   the layers. */
static uintptr_t lay_out(const Shape *s, uintptr_t base, Buffers *to) {
    long n = s->positions, width = s->d / s->heads, widest = most(3 * s->d, most(3 * s->mels, s->ffn));
    to->x = take_floats(&base, n * s->d);
    uintptr_t behind = base;
    to->sound = take_floats(&behind, (2 * n + 2) * s->mels);
    to->stem = take_floats(&behind, (2 * n + 1) * s->d);
    to->rows = take_rows(&base, n, s->d);
    to->queries = take_floats(&base, n * heads_together(s) * width);
    to->keys = take_floats(&base, n * heads_together(s) * width);
    to->values = take_floats(&base, n * heads_together(s) * width);
    to->attended = take_floats(&base, n * s->d);
    if (base < behind) base = behind;
    to->block = take_block(&base, s->d, s->ffn, widest);
    to->head = take_head(&base, n, width);
    to->listening = take_listening(&base, n, width);
    to->bias = take_floats(&base, up(n, LANES));
    return base;
}

/* Bytes of scratch memory for encoder_run; one block per thread. */
long SET(encoder_scratch)(const Shape *shape) {
    Buffers none;
    return (long)lay_out(shape, 0, &none);
}

/* A convolution over three neighbours, and GELU: output row t from the `3 * width` elements of `x` from row
   `stride` * t on. */
static void convolve(const float *x, long width, long stride, long count, Linear with, long n, float *out,
                     Rows rows) {
    for (long t = 0; t < count; t += BLOCK) {
        long some = least(BLOCK, count - t), k = 3 * width;
        for (long r = 0; r < some; r++) quantise(x + (t + r) * stride * width, k, rows, r);
        product(rows, some, k, n, with, out + t * n, n);
        gelu(out + t * n, some * n);
    }
}

static void stem(const Shape *s, const void *const **weights, const float *log_mel, Buffers *b) {
    long frames = 2 * s->positions, d = s->d;
    clear(b->sound, s->mels); /* frame t is row t + 1: a row of zeros before the first and after the last */
    clear(b->sound + (frames + 1) * s->mels, s->mels);
    for (long m = 0; m < s->mels; m++)
        for (long t = 0; t < frames; t++) b->sound[(t + 1) * s->mels + m] = log_mel[m * frames + t];
    Linear first = next_linear(weights), second = next_linear(weights);
    const float *places = *(*weights)++;
    convolve(b->sound, s->mels, 1, frames, first, d, b->stem + d, b->block.rows);
    clear(b->stem, d); /* no row after the last frame is read: every second one is the middle of three */
    convolve(b->stem, d, 2, s->positions, second, d, b->x, b->block.rows);
    add(b->x, places, s->positions * d);
}

/* Attention of head h, whose queries, keys and values are at column `at` of [positions, columns]. */
static void attend_to_all(const Shape *s, long h, long at, long columns, Buffers *b) {
    long n = s->positions, d = s->d, width = d / s->heads;
    pack_keys(b->keys + at, n, columns, width, b->head);
    pack_values(b->values + at, n, columns, width, b->head);
    for (long i = 0; i < n; i += TILE) {
        long some = least(TILE, n - i);
        Groups heard = weigh(b->queries + i * columns + at, some, columns, n, width, b->head, b->bias, b->listening);
        sum_values(b->listening, some, n, width, b->head, heard, b->attended + i * d + h * width, d);
    }
}

/* Attention to the normalised rows. A few heads at a time: what they need stays in the L2 cache. */
static void attention_layer(const Shape *s, Linear query, Linear key, Linear value, Buffers *b) {
    long n = s->positions, d = s->d, width = d / s->heads, together = heads_together(s);
    for (long h = 0; h < s->heads; h += together) {
        long some = least(together, s->heads - h), columns = some * width;
        product(b->rows, n, d, columns, columns_from(query, h * width, d), b->queries, columns);
        product(b->rows, n, d, columns, columns_from(key, h * width, d), b->keys, columns);
        product(b->rows, n, d, columns, columns_from(value, h * width, d), b->values, columns);
        for (long i = 0; i < some; i++) attend_to_all(s, h + i, i * width, columns, b);
    }
}

static void encoder_layer(const Shape *s, const void *const **weights, Buffers *b) {
    long d = s->d, n = s->positions;
    Norm before = next_norm(weights);
    Linear query = next_linear(weights), key = next_linear(weights), value = next_linear(weights);
    Linear out = next_linear(weights);
    Norm between = next_norm(weights);
    Linear wider = next_linear(weights), narrower = next_linear(weights);
    Block all = b->block;
    all.rows = b->rows;
    normalised(b->x, n, d, before, all);
    attention_layer(s, query, key, value, b);
    for (long t = 0; t < n; t += BLOCK) {
        long some = least(BLOCK, n - t);
        add_linear(b->x + t * d, b->attended + t * d, some, d, d, out, b->block);
        feed_forward(b->x + t * d, some, d, s->ffn, between, wider, narrower, b->block);
    }
}

/* Log-mel [mels, 2 * positions] to hidden states [positions, d]. `weights`: four arrays per linear layer
   and two per norm, in the order of the computation. mels, d and ffn are multiples of LANES, also d /
   heads, which is at most MOST_WIDTH. */
void SET(encoder_run)(const Shape *shape, const void *const *weights, const float *log_mel, float *hidden,
                      char *scratch) {
    Buffers b;
    long n = shape->positions, d = shape->d;
    lay_out(shape, (uintptr_t)scratch, &b);
    for (long i = 0; i < up(n, LANES); i++) b.bias[i] = i < n ? 0 : ABSENT;
    clear(b.listening.zeros, d / shape->heads);
    stem(shape, &weights, log_mel, &b);
    for (long i = 0; i < shape->layers; i++) encoder_layer(shape, &weights, &b);
    Norm last = next_norm(&weights);
    for (long t = 0; t < n; t++) norm(b.x + t * d, d, last, hidden + t * d);
}
