/* The logits of several windows, and their norm. */

typedef struct {
    Rows rows;
    float *top, *sum; /* of each row, LANES elements */
} Choice;

static uintptr_t lay_out_choice(long count, long d, uintptr_t base, Choice *to) {
    to->rows = take_rows(&base, count, d);
    to->top = take_floats(&base, count * LANES);
    to->sum = take_floats(&base, count * LANES);
    return base;
}

/* Bytes of scratch memory for vocabulary_run. */
long SET(vocabulary_scratch)(long count, long d) {
    Choice none;
    return (long)lay_out_choice(count, d, 0, &none);
}

/* Update a row's maximum and sum of exponentials with `n` logits, a multiple of LANES, per lane. */
static void sum_up(const float *logits, long n, float *top, float *sum) {
    floats before = f_load(top), now = before;
    for (long i = 0; i < n; i += LANES) now = f_max(now, f_load(logits + i));
    floats total = f_mul(f_load(sum), exp_of(f_sub(before, now)));
    for (long i = 0; i < n; i += LANES) total = f_add(total, exp_of(f_sub(f_load(logits + i), now)));
    f_store(top, now);
    f_store(sum, total);
}

/* States [count, d] to logits [count, stride] of `tokens` tokens, a multiple of LANES, and for each row the
   maximum and the sum of exp(logit - maximum), [count, 2]. `weights` as those of a linear layer of
   encoder_run. */
void SET(vocabulary_run)(long count, long d, long tokens, const void *const *weights, const float *states,
                         float *logits, long stride, float *norms, char *scratch) {
    Choice b;
    lay_out_choice(count, d, (uintptr_t)scratch, &b);
    Linear table = next_linear(&weights);
    for (long r = 0; r < count; r++) {
        quantise(states + r * d, d, b.rows, r);
        f_store(b.top + r * LANES, f_set(-3e38f));
        f_store(b.sum + r * LANES, f_set(0));
    }
    for (long c = 0; c < tokens; c += COLUMNS) {
        long some = least(COLUMNS, tokens - c);
        product(b.rows, count, d, some, columns_from(table, c, d), logits + c, stride);
        for (long r = 0; r < count; r++)
            sum_up(logits + r * stride + c, some, b.top + r * LANES, b.sum + r * LANES);
    }
    for (long r = 0; r < count; r++) {
        floats top = f_load(b.top + r * LANES), sum = f_load(b.sum + r * LANES);
        norms[2 * r] = f_largest(top);
        norms[2 * r + 1] = f_sum(f_mul(sum, exp_of(f_sub(top, f_set(norms[2 * r])))));
    }
}
