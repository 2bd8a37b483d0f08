/* Attention over the int8 keys and values of one head. */

enum {
    MOST_WIDTH = 64,   /* maximum head width */
    STRETCH = 4 * LANES, /* scores whose powers are computed together */
};

static const float ABSENT = -1e30f; /* added to the scores of missing positions */

/* Keys [width, columns] and values [columns, width] of one head, and the scales of each column; columns are
   positions up to a multiple of LANES. */
typedef struct {
    int8_t *keys, *values;
    float *key_scale, *value_scale;
    int32_t *key_totals, *value_totals;
} Head;

static Head take_head(uintptr_t *at, long positions, long width) {
    long columns = up(positions, LANES);
    Head made = {take(at, columns * width), take(at, columns * width), take_floats(at, columns),
                 take_floats(at, width),    take_ints(at, columns),    take_ints(at, width)};
    return made;
}

/* Column means of `x` [n, width]. */
static void means(const float *x, long n, long stride, long width, float *out) {
    for (long c = 0; c < width; c += LANES) {
        floats even = f_set(0), odd = even;
        for (long i = 0; i < n; i += 2) {
            even = f_add(even, f_load(x + i * stride + c));
            if (i + 1 < n) odd = f_add(odd, f_load(x + (i + 1) * stride + c));
        }
        f_store(out + c, f_div(f_add(even, odd), f_set((float)n)));
    }
}

/* Quantise `x` [width] to `inverse` = 127 / largest; returns the sum of the bytes. */
static int32_t signed_bytes(const float *x, long width, float inverse, int8_t *out) {
    ints sum = i_set(0);
    for (long c = 0; c < width; c += LANES) {
        ints q = f_round(f_mul(f_load(x + c), f_set(inverse)));
        sum = i_add(sum, q);
        i_store_signed(out + c, q);
    }
    return i_sum(sum);
}

/* Copy the bytes of a column to its panel, `panel` columns wide. */
INLINE void put_column(const int8_t *bytes, long width, long panel, int8_t *to) {
    UNROLL for (long c = 0; c < width; c += DEPTH) __builtin_memcpy(to + c * panel, bytes + c, DEPTH);
}

/* Quantise keys [n, width] after subtracting their mean. */
static void pack_keys(const float *x, long n, long stride, long width, Head head) {
    float mean[MOST_WIDTH], key[MOST_WIDTH];
    int8_t bytes[MOST_WIDTH];
    long columns = up(n, LANES);
    means(x, n, stride, width, mean);
    for (long i = 0; i < columns; i++) {
        for (long c = 0; c < width; c += LANES)
            f_store(key + c, i < n ? f_sub(f_load(x + i * stride + c), f_load(mean + c)) : f_set(0));
        float top = magnitude(key, width);
        head.key_scale[i] = top / 127;
        head.key_totals[i] = signed_bytes(key, width, top > 0 ? 127 / top : 0, bytes);
        long start = i / PANEL * PANEL, panel = least(columns - start, PANEL);
        int8_t *to = head.keys + start * width + (i - start) * DEPTH;
        if (panel == PANEL) put_column(bytes, width, PANEL, to); /* a constant is faster */
        else put_column(bytes, width, panel, to);
    }
}

/* LANES channels of the values [n, stride] with `inverse` = 127 / largest, four positions from i on, with
   the bytes of each channel adjacent. */
INLINE ints four_values(const float *x, long i, long n, long stride, floats inverse, ints *total) {
    ints four = i_set(0);
    for (long j = 0; j < 4 && i + j < n; j++) {
        ints q = f_round(f_mul(f_load(x + (i + j) * stride), inverse));
        *total = i_add(*total, q);
        four = i_or(four, i_left(i_and(q, i_set(255)), (int)(8 * j)));
    }
    return four;
}

/* Quantise values [n, width]. */
static void pack_values(const float *x, long n, long stride, long width, Head head) {
    for (long c = 0; c < width; c += LANES) {
        floats top = f_set(1e-30f);
        for (long i = 0; i < n; i++) top = f_max(top, f_abs(f_load(x + i * stride + c)));
        floats inverse = f_div(f_set(127), top);
        f_store(head.value_scale + c, f_mul(top, f_set(1.0f / 127)));
        long start = c / PANEL * PANEL, panel = least(width - start, PANEL);
        int8_t *to = head.values + start * up(n, LANES) + (c - start) * DEPTH;
        ints total = i_set(0);
        for (long i = 0; i < up(n, LANES); i += 4) {
            int32_t four[LANES];
            int8_t *at = to + i / DEPTH * DEPTH * panel + i % DEPTH;
            i_store(DEPTH == 4 ? (int32_t *)at : four, four_values(x + c, i, n, stride, inverse, &total));
            for (long lane = 0; lane < LANES && DEPTH > 4; lane++)
                __builtin_memcpy(at + lane * DEPTH, four + lane, 4);
        }
        i_store(head.value_totals + c, total);
    }
}

/* Quantise a query to row r of `to`, bytes around 128; its step is in units of log 2, so that scores are
   exponents of two. */
static void pack_query(const float *x, long width, Rows to, long r) {
    float top = magnitude(x, width);
    store_levels(x, width, level_of, f_set(top > 0 ? 127 / top : 0), 128, to.bytes + r * width);
    to.step[r] = top / 127 * LOG2_E;
}

/* Scratch memory of `attend`. */
typedef struct {
    Rows queries, weights;
    float *scores, *zeros, *tops, *units; /* of each row: the score whose power is 1 */
    int32_t *heard, *sums;
    uint64_t *stretches; /* the row, 32 bits, then the place of the first score */
} Listening;

static Listening take_listening(uintptr_t *at, long positions, long width) {
    long columns = up(positions, LANES);
    Listening made = {take_rows(at, TILE, width), take_rows(at, TILE, columns),
                      take_floats(at, TILE * columns), take_floats(at, width),
                      take_floats(at, columns / (STRETCH / LANES)), take_floats(at, TILE * LANES),
                      take_ints(at, columns / DEPTH + LANES), take_ints(at, TILE * LANES),
                      take(at, (TILE * columns / STRETCH + 1) * (long)sizeof(uint64_t))};
    made.queries.middle = 128;
    made.queries.zero = made.weights.zero = 0; /* byte 128 of a query and byte 0 of a weight are zero */
    return made;
}

/* The maxima of the whole stretches of a row of scores [n], one vector each; returns the largest score. */
static float largest_of(const float *scores, long n, float *tops) {
    floats top = f_load(scores), two[2];
    long i = 0;
    for (; i + STRETCH <= n; i += STRETCH) {
        UNROLL for (long j = 0; j < 2; j++)
            two[j] = f_max(f_load(scores + i + 2 * j * LANES), f_load(scores + i + (2 * j + 1) * LANES));
        two[0] = f_max(two[0], two[1]);
        f_store(tops + i / (STRETCH / LANES), two[0]);
        top = f_max(top, two[0]);
    }
    for (; i < n; i += LANES) top = f_max(top, f_load(scores + i));
    return f_largest(top);
}

INLINE ints power_level(floats x, floats unit) { return f_round(exp2_of(f_sub(x, unit))); }

/* Powers of two of the scores [count, n] as bytes relative to the largest of their row, which becomes 255; their
   step normalises the sum to one. Stretches that become 0 are passed over: those with no score above half a
   255th of the largest. All rows together: the end of a list that nobody can predict costs 20 cycles. */
static void softmax(long count, long n, Listening in) {
    const float log2_255 = 7.99435344f;
    const ints zeros[4] = {i_set(0), i_set(0), i_set(0), i_set(0)};
    long found = 0, whole = n / STRETCH * STRETCH;
    for (long r = 0; r < count; r++) {
        const float *scores = in.scores + r * n;
        floats unit = f_set(largest_of(scores, n, in.tops) - log2_255);
        f_store(in.units + r * LANES, unit);
        for (long i = 0; i < whole; i += STRETCH) {
            i_store_four(in.weights.bytes + r * n + i, zeros);
            in.stretches[found] = (uint64_t)r << 32 | (uint64_t)(r * n + i);
            found += f_exceeds(f_sub(f_load(in.tops + i / (STRETCH / LANES)), unit), f_set(-1));
        }
        i_store(in.sums + r * LANES, store_levels(scores + whole, n - whole, power_level, unit, 0,
                                                  in.weights.bytes + r * n + whole));
    }
    for (long i = 0; i < found; i++) {
        long r = (long)(in.stretches[i] >> 32), at = (long)(uint32_t)in.stretches[i];
        ints sum = store_levels(in.scores + at, STRETCH, power_level, f_load(in.units + r * LANES), 0,
                                in.weights.bytes + at);
        i_store(in.sums + r * LANES, i_add(i_load(in.sums + r * LANES), sum));
    }
    for (long r = 0; r < count; r++) in.weights.step[r] = 1.0f / (float)i_sum(i_load(in.sums + r * LANES));
}

/* The groups of positions to which any of the rows of weights [count, n] gives a weight: most have none, since
   a weight below half a 255th of the largest is 0. */
static Groups heard_by(Rows weights, long count, long n, int32_t *which) {
    Groups all = {0, n / DEPTH}, some = {which, 0};
    if (SIGNED) return all;
    for (long i = 0; i < n; i += 4 * LANES) {
        ints any = i_set(0);
        for (long r = 0; r < count; r++) any = i_or(any, bytes_of(weights.bytes + r * n + i, n - i));
        some.count += groups_set(any, (int32_t)(i / DEPTH), which + some.count);
    }
    return some;
}

/* The weights that up to TILE queries, `stride` apart, give to `positions` of a head; `bias` [columns] is added
   to the scores in units of log 2. */
static Groups weigh(const float *queries, long count, long stride, long positions, long width, Head head,
                    const float *bias, Listening in) {
    long columns = up(positions, LANES);
    Linear keys = {head.keys, head.key_scale, head.key_totals, bias};
    for (long r = 0; r < count; r++) pack_query(queries + r * stride, width, in.queries, r);
    product(in.queries, count, width, columns, keys, in.scores, columns);
    softmax(count, columns, in);
    return heard_by(in.weights, count, columns, in.heard);
}

/* The sums of the values with the weights of `count` queries, to `out`, `ldo` apart. */
static void sum_values(Listening in, long count, long positions, long width, Head head, Groups heard, float *out,
                       long ldo) {
    Linear values = {head.values, head.value_scale, head.value_totals, in.zeros};
    sparse_product(in.weights, count, up(positions, LANES), heard, width, values, out, ldo);
}
