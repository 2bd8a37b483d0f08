/* The encoder of one window. */

typedef struct {
    long mels, positions, d, heads, ffn, layers;
} Shape;

typedef struct {
    float *sound, *stem, *x, *qkv, *attended, *bias;
    Block block;
    Head head;
    Listening listening;
} Buffers;

/* Allocate buffers from `base` on; returns their end. The buffers of the stem share memory with those of
   the layers. */
static uintptr_t lay_out(const Shape *s, uintptr_t base, Buffers *to) {
    long n = s->positions, width = s->d / s->heads, widest = most(3 * s->d, most(3 * s->mels, s->ffn));
    to->x = take_floats(&base, n * s->d);
    uintptr_t behind = base;
    to->sound = take_floats(&behind, (2 * n + 2) * s->mels);
    to->stem = take_floats(&behind, (2 * n + 1) * s->d);
    to->qkv = take_floats(&base, n * 3 * s->d);
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

static void attend_to_all(const Shape *s, long h, Buffers *b) {
    long n = s->positions, d = s->d, width = d / s->heads;
    const float *queries = b->qkv + h * width;
    pack_keys(queries + d, n, 3 * d, width, b->head);
    pack_values(queries + 2 * d, n, 3 * d, width, b->head);
    for (long i = 0; i < n; i += TILE)
        attend(queries + i * 3 * d, least(TILE, n - i), 3 * d, n, width, b->head, b->bias, b->listening,
               b->attended + i * d + h * width, d);
}

static void encoder_layer(const Shape *s, const void *const **weights, Buffers *b) {
    long d = s->d, n = s->positions;
    Norm before = next_norm(weights);
    Linear query = next_linear(weights), key_value = next_linear(weights), out = next_linear(weights);
    Norm between = next_norm(weights);
    Linear wider = next_linear(weights), narrower = next_linear(weights);
    for (long t = 0; t < n; t += BLOCK) {
        long some = least(BLOCK, n - t);
        normalised(b->x + t * d, some, d, before, b->block);
        product(b->block.rows, some, d, d, query, b->qkv + t * 3 * d, 3 * d);
        product(b->block.rows, some, d, 2 * d, key_value, b->qkv + t * 3 * d + d, 3 * d);
    }
    for (long h = 0; h < s->heads; h++) attend_to_all(s, h, b);
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
