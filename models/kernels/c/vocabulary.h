/* The logits of several windows, their norm, and their most likely tokens. */

enum {
    SPAN = 4 * COLUMNS, /* logits whose maximum is kept: the most likely tokens are in the highest spans */
    MOST_LIKELY = 16,   /* of a row */
};

/* Of each row: LANES maxima and sums over all logits, LANES maxima of the current span, the maximum of every
   span. */
typedef struct {
    Rows rows;
    float *top, *sum, *high, *tops;
} Choice;

static uintptr_t lay_out_choice(long count, long d, long tokens, uintptr_t base, Choice *to) {
    to->rows = take_rows(&base, count, d);
    to->top = take_floats(&base, count * LANES);
    to->sum = take_floats(&base, count * LANES);
    to->high = take_floats(&base, count * LANES);
    to->tops = take_floats(&base, count * (up(tokens, SPAN) / SPAN));
    return base;
}

/* Bytes of scratch memory for vocabulary_run. */
long SET(vocabulary_scratch)(long count, long d, long tokens) {
    Choice none;
    return (long)lay_out_choice(count, d, tokens, 0, &none);
}

/* Update the maxima and sums of exponentials of row r with `n` logits, a multiple of LANES. */
static void sum_up(const float *logits, long n, Choice b, long r) {
    float *top = b.top + r * LANES, *sum = b.sum + r * LANES, *high = b.high + r * LANES;
    floats before = f_load(top), here = f_load(high);
    for (long i = 0; i < n; i += LANES) here = f_max(here, f_load(logits + i));
    floats now = f_max(before, here);
    floats total = f_mul(f_load(sum), exp_of(f_sub(before, now)));
    for (long i = 0; i < n; i += LANES) total = f_add(total, exp_of(f_sub(f_load(logits + i), now)));
    f_store(top, now);
    f_store(sum, total);
    f_store(high, here);
}

/* Insert i into the places of the `most` largest numbers of x so far, descending, of equals the first one first;
   returns how many of `found` and it are kept. */
INLINE long insert(const float *x, long i, int32_t *places, long found, long most) {
    if (found == most && !(x[i] > x[places[most - 1]])) return found;
    long at = found < most ? found++ : most - 1;
    for (; at > 0 && x[i] > x[places[at - 1]]; at--) places[at] = places[at - 1];
    places[at] = (int32_t)i;
    return found;
}

/* The `most` largest of a row's logits, descending. */
static void likeliest(const float *logits, long tokens, const float *tops, long most, int32_t *ids) {
    int32_t highest[MOST_LIKELY];
    long spans = up(tokens, SPAN) / SPAN, found = 0;
    for (long s = 0; s < spans; s++) found = insert(tops, s, highest, found, most);
    float bound = tops[highest[found - 1]];
    found = 0;
    for (long s = 0; s < spans; s++) {
        if (tops[s] < bound) continue;
        for (long i = s * SPAN; i < least(tokens, (s + 1) * SPAN); i++) found = insert(logits, i, ids, found, most);
    }
}

/* 0, or NaN if one of n numbers is not finite. */
static float flaw(const float *x, long n) {
    floats zero = f_set(0), sum = zero;
    for (long i = 0; i < n; i += LANES) sum = f_fma(f_load(x + i), zero, sum);
    return f_sum(sum);
}

/* The logits of all rows in a span of `n` tokens; the first `ruled` rows have the bias of `rules`. */
static void span_of_logits(Choice b, long count, long ruled, long d, long n, Linear open, Linear rules,
                           float *logits, long stride) {
    Rows others = {b.rows.bytes + ruled * d, b.rows.step + ruled, b.rows.zero + ruled, b.rows.middle};
    for (long r = 0; r < count; r++) f_store(b.high + r * LANES, f_set(-3e38f));
    for (long c = 0; c < n; c += COLUMNS) {
        long some = least(COLUMNS, n - c);
        product(b.rows, ruled, d, some, columns_from(rules, c, d), logits + c, stride);
        product(others, count - ruled, d, some, columns_from(open, c, d), logits + ruled * stride + c, stride);
        for (long r = 0; r < count; r++) sum_up(logits + r * stride + c, some, b, r);
    }
}

/* States [count, d] to logits [count, tokens] of `tokens` tokens, a multiple of LANES, and for each row the
   maximum (NaN if a state is not finite) and the sum of exp(logit - maximum), [count, 2]. `weights` as those of
   a linear layer of encoder_run, then another bias, that of the first `ruled` rows. `ids` [ruled, most] are the
   most likely tokens of these, descending; `most` is at most MOST_LIKELY and `tokens`. */
void SET(vocabulary_run)(long count, long d, long tokens, const void *const *weights, const float *states,
                         float *logits, float *norms, long ruled, long most, int32_t *ids, char *scratch) {
    Choice b;
    lay_out_choice(count, d, tokens, (uintptr_t)scratch, &b);
    Linear open = next_linear(&weights), rules = open;
    rules.bias = weights[0];
    long spans = up(tokens, SPAN) / SPAN;
    for (long r = 0; r < count; r++) {
        quantise(states + r * d, d, b.rows, r);
        f_store(b.top + r * LANES, f_set(-3e38f));
        f_store(b.sum + r * LANES, f_set(0));
    }
    for (long s = 0; s < spans; s++) {
        long c = s * SPAN;
        span_of_logits(b, count, ruled, d, least(SPAN, tokens - c), columns_from(open, c, d),
                       columns_from(rules, c, d), logits + c, tokens);
        for (long r = 0; r < count; r++) b.tops[r * spans + s] = f_largest(f_load(b.high + r * LANES));
    }
    for (long r = 0; r < count; r++) {
        floats top = f_load(b.top + r * LANES), sum = f_load(b.sum + r * LANES);
        float largest = f_largest(top);
        norms[2 * r] = largest + flaw(states + r * d, d);
        norms[2 * r + 1] = f_sum(f_mul(sum, exp_of(f_sub(top, f_set(largest)))));
    }
    for (long r = 0; r < ruled; r++) likeliest(logits + r * tokens, tokens, b.tops + r * spans, most, ids + r * most);
}
