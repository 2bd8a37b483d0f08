/* Cross-attention keys and values of a window: every head of every layer, in one block of memory. */

typedef struct {
    float *bias; /* of each position, in units of log 2 */
    uintptr_t heads;
    long stored, width;
} Cross;

static long head_bytes(long stored, long width) {
    uintptr_t end = 0;
    take_head(&end, stored, width);
    return (long)end;
}

/* The window stored at `base`. */
static Cross cross_at(uintptr_t base, long stored, long width) {
    Cross found = {take_floats(&base, up(stored, LANES)), 0, stored, width};
    found.heads = base;
    return found;
}

/* Head i, counted through all layers. */
static Head head_of(Cross window, long i) {
    uintptr_t at = window.heads + (uintptr_t)(i * head_bytes(window.stored, window.width));
    return take_head(&at, window.stored, window.width);
}

typedef struct {
    long d, heads, width, layers;
} CrossShape;

/* Bytes of a window, from a cache line on. */
long SET(cross_bytes)(const CrossShape *shape, long stored) {
    Cross from_zero = cross_at(0, stored, shape->width);
    return (long)from_zero.heads + shape->layers * shape->heads * head_bytes(stored, shape->width);
}

typedef struct {
    Rows rows;
    float *projected;
    long columns; /* projected together: a head's, so that they stay in the cache, unless panels cover several */
} Projecting;

static uintptr_t lay_out_projecting(const CrossShape *s, long stored, uintptr_t base, Projecting *to) {
    to->columns = s->width % PANEL ? 2 * s->heads * s->width : s->width;
    to->rows = take_rows(&base, stored, s->d);
    to->projected = take_floats(&base, stored * to->columns);
    return base;
}

/* Pack the columns of a layer that were projected together, from `start` on: keys of heads, or their values. */
static void pack_heads(const CrossShape *s, const Projecting *in, long start, long stored, Cross to, long layer) {
    long width = s->width, inner = s->heads * width;
    for (long c = 0; c < in->columns; c += width) {
        Head head = head_of(to, layer * s->heads + (start + c) % inner / width);
        (start + c < inner ? pack_keys : pack_values)(in->projected + c, stored, in->columns, width, head);
    }
}

/* Bytes of scratch memory for cross_run. */
long SET(cross_scratch)(const CrossShape *shape, long stored) {
    Projecting none;
    return (long)lay_out_projecting(shape, stored, 0, &none);
}

/* Project hidden states [stored, d], with the bias of their scores [stored], to a window. `weights`: four
   arrays for the combined keys and values of each layer. */
void SET(cross_run)(const CrossShape *shape, const void *const *weights, const float *hidden, const float *bias,
                    long stored, char *window, char *scratch) {
    Projecting in;
    Cross to = cross_at((uintptr_t)window, stored, shape->width);
    lay_out_projecting(shape, stored, (uintptr_t)scratch, &in);
    for (long i = 0; i < up(stored, LANES); i++) to.bias[i] = i < stored ? bias[i] * LOG2_E : ABSENT;
    for (long r = 0; r < stored; r++) quantise(hidden + r * shape->d, shape->d, in.rows, r);
    for (long i = 0; i < shape->layers; i++) {
        Linear both = next_linear(&weights);
        for (long c = 0; c < 2 * shape->heads * shape->width; c += in.columns) {
            Linear some = columns_from(both, c, shape->d);
            product(in.rows, stored, shape->d, in.columns, some, in.projected, in.columns);
            pack_heads(shape, &in, c, stored, to, i);
        }
    }
}
