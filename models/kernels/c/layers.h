/* Layers shared by encoder and decoder, for up to BLOCK rows. */

typedef struct {
    float *wide, *narrow; /* [BLOCK, ffn], [BLOCK, d] */
    Rows rows;
} Block;

static Block take_block(uintptr_t *at, long d, long ffn, long widest) {
    Block made = {take_floats(at, BLOCK * ffn), take_floats(at, BLOCK * d), take_rows(at, BLOCK, widest)};
    return made;
}

/* Quantise the rows of `x` [count, n]. */
static void to_bytes(const float *x, long count, long n, Block in) {
    for (long r = 0; r < count; r++) quantise(x + r * n, n, in.rows, r);
}

/* Normalise and quantise the rows of `x` [count, d]. */
static void normalised(const float *x, long count, long d, Norm with, Block in) {
    for (long r = 0; r < count; r++) {
        norm(x + r * d, d, with, in.narrow);
        quantise(in.narrow, d, in.rows, r);
    }
}

/* x [count, d] += with(from [count, k]). */
static void add_linear(float *x, const float *from, long count, long k, long d, Linear with, Block in) {
    to_bytes(from, count, k, in);
    product(in.rows, count, k, d, with, in.narrow, d);
    add(x, in.narrow, count * d);
}

/* x [count, d] += narrower(gelu(wider(norm(x)))). */
static void feed_forward(float *x, long count, long d, long ffn, Norm before, Linear wider, Linear narrower,
                         Block in) {
    normalised(x, count, d, before, in);
    product(in.rows, count, d, ffn, wider, in.wide, ffn);
    gelu(in.wide, count * ffn);
    add_linear(x, in.wide, count, ffn, d, narrower, in);
}
