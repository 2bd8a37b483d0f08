/* One decoder step: one token for each of several windows, or several consecutive tokens of one window. */

/* The caches of self-attention are in `pieces` of `capacity` tokens each, so that they grow without a copy. */
typedef struct {
    long d, heads, width, ffn, layers, capacity, followed, groups, pieces;
} DecoderShape;

/* A token at `position` of the window in `slot`; its cross-attention reads `cross` (see cross.h) with
   `stored` positions. */
typedef struct {
    int64_t id, position, slot, stored;
    const char *cross;
} Token;

typedef struct {
    const int8_t *tokens;
    const float *scale, *places;
} Embedding;

typedef struct {
    float *x, *projected, *summed, *scores;
    Block block;
    Listening listening[2]; /* of a head, and of the one before */
} Step;

static uintptr_t lay_out_step(const DecoderShape *s, long stored, uintptr_t base, Step *to) {
    long inner = s->heads * s->width;
    to->x = take_floats(&base, BLOCK * s->d);
    to->projected = take_floats(&base, BLOCK * 3 * inner);
    to->summed = take_floats(&base, BLOCK * inner);
    to->scores = take_floats(&base, up(s->pieces * s->capacity, LANES));
    to->block = take_block(&base, s->d, s->ffn, most(s->ffn, most(s->d, inner)));
    for (int i = 0; i < 2; i++) to->listening[i] = take_listening(&base, stored, s->width);
    return base;
}

/* Bytes of scratch memory for decoder_run over windows of up to `stored` positions. */
long SET(decoder_scratch)(const DecoderShape *shape, long stored) {
    Step none;
    return (long)lay_out_step(shape, stored, 0, &none);
}

static void embed(const Token *token, Embedding from, long d, float *x) {
    floats scale = f_set(from.scale[token->id]);
    for (long i = 0; i < d; i += LANES) {
        floats y = i_floats(i_from_bytes(from.tokens + token->id * d + i));
        f_store(x + i, f_fma(y, scale, f_load(from.places + token->position * d + i)));
    }
}

INLINE floats products_of(const float *x, const float *y, const long vectors) {
    floats sum = f_set(0);
    UNROLL for (long i = 0; i < vectors; i++) sum = f_fma(f_load(x + i * LANES), f_load(y + i * LANES), sum);
    return sum;
}

/* Scores of a query over n keys [n, vectors * LANES]. */
INLINE void scores_of(const float *query, const float *keys, long n, const long vectors, float *scores) {
    long j = 0;
#ifdef f_sums
    for (; j + LANES <= n; j += LANES) {
        floats some[LANES];
        _Pragma("GCC unroll 16") for (long i = 0; i < LANES; i++)
            some[i] = products_of(query, keys + (j + i) * vectors * LANES, vectors);
        f_store(scores + j, f_sums(some));
    }
#endif
    for (; j < n; j++) scores[j] = f_sum(products_of(query, keys + j * vectors * LANES, vectors));
}

/* Replace the scores [n] by powers of two of their difference to the largest; returns the sum. */
static float powers(float *scores, long n) {
    for (long j = n; j < up(n, LANES); j++) scores[j] = ABSENT;
    floats top = f_load(scores), sum = f_set(0);
    for (long j = LANES; j < n; j += LANES) top = f_max(top, f_load(scores + j));
    floats largest = f_set(f_largest(top));
    for (long j = 0; j < n; j += LANES) {
        floats power = exp2_of(f_sub(f_load(scores + j), largest));
        f_store(scores + j, power);
        sum = f_add(sum, power);
    }
    return f_sum(sum);
}

/* The caches of one layer: keys of piece i at both[i * stride], values behind them. */
typedef struct {
    float *const *both;
    long stride;
} Past;

/* Place of position p of a head in its piece of the caches [slots, heads, capacity, width]. */
static long place_of(const DecoderShape *s, long slot, long head, long p) {
    return ((slot * s->heads + head) * s->capacity + p % s->capacity) * s->width;
}

/* Add n values [n, vectors * LANES] with their weights to `sum`, one position after the other. */
INLINE void add_weighted(const float *weights, const float *values, long n, const long vectors, floats *sum) {
    for (long j = 0; j < n; j++, values += vectors * LANES) {
        const floats weight = f_set(weights[j]);
        UNROLL for (long c = 0; c < vectors; c++) sum[c] = f_fma(weight, f_load(values + c * LANES), sum[c]);
    }
}

/* Attention of one query over n keys and values of `vectors` * LANES; scores are exponents of two. */
INLINE void attend_to_past(const DecoderShape *s, const float *query, Past past, long from, long n,
                           const long vectors, float *scores, float *out) {
    floats sum[MOST_WIDTH / LANES];
    UNROLL for (long c = 0; c < MOST_WIDTH / LANES; c++) sum[c] = f_set(0);
    for (long first = 0; first < n; first += s->capacity)
        scores_of(query, past.both[first / s->capacity * past.stride] + from, least(n - first, s->capacity), vectors,
                  scores + first);
    floats share = f_set(1 / powers(scores, n));
    for (long first = 0; first < n; first += s->capacity)
        add_weighted(scores + first, past.both[first / s->capacity * past.stride + 1] + from,
                     least(n - first, s->capacity), vectors, sum);
    UNROLL for (long c = 0; c < vectors; c++) f_store(out + c * LANES, f_mul(sum[c], share));
}

/* Write the tokens' keys and values to the caches, then attend to all positions up to each token. */
static void self_attention(const DecoderShape *s, const Token *tokens, long count, Past past, Step *in) {
    long width = s->width, inner = s->heads * width;
    for (long t = 0; t < count; t++)
        for (long h = 0; h < s->heads; h++) {
            long to = place_of(s, tokens[t].slot, h, tokens[t].position);
            float *const *piece = past.both + tokens[t].position / s->capacity * past.stride;
            const float *from = in->projected + t * 3 * inner + h * width;
            __builtin_memcpy(piece[0] + to, from + inner, (size_t)width * sizeof(float));
            __builtin_memcpy(piece[1] + to, from + 2 * inner, (size_t)width * sizeof(float));
        }
    for (long t = 0; t < count; t++)
        for (long h = 0; h < s->heads; h++) {
            long from = place_of(s, tokens[t].slot, h, 0), n = tokens[t].position + 1, at = h * width;
            const float *query = in->projected + t * 3 * inner + at;
            float *out = in->summed + t * inner + at;
            if (width == MOST_WIDTH) attend_to_past(s, query, past, from, n, MOST_WIDTH / LANES, in->scores, out);
            else attend_to_past(s, query, past, from, n, width / LANES, in->scores, out);
        }
}

/* The heads whose attention is reported, as pairs of layer and head, and the outputs. */
typedef struct {
    const int64_t *followed;
    float *attended;  /* [count, groups]: the mean of their weights, summed in groups of positions */
    float *attention; /* [count, followed, stored]: their weights, or 0 if not requested */
    long stored;
} Ears;

/* Add the n weights in row r to `out` in groups of GROUP positions, times `share`. */
static void add_groups(Rows weights, long r, long n, float share, float *out) {
    const uint8_t *bytes = weights.bytes + r * up(n, LANES);
    const uint32_t sign = SIGNED ? 0x80808080u : 0;
    share *= weights.step[r];
    for (long g = 0; g < up(n, GROUP) / GROUP; g++) {
        uint32_t four = (uint32_t)four_bytes(bytes + GROUP * g) ^ sign;
        uint32_t two = (four & 0xff00ffu) + (four >> 8 & 0xff00ffu);
        out[g] += share * (float)((two & 0xffffu) + (two >> 16));
    }
}

/* The n weights in row r as floats. */
static void copy_weights(Rows weights, long r, long n, float *out) {
    const uint8_t *bytes = weights.bytes + r * up(n, LANES), sign = SIGNED ? 0x80 : 0;
    for (long p = 0; p < n; p++) out[p] = weights.step[r] * (float)(bytes[p] ^ sign);
}

/* Report the attention of row r of a head, which belongs to `token`. */
static void tell(const DecoderShape *s, Ears to, Rows weights, long r, long n, long token, long layer, long head) {
    for (long f = 0; f < s->followed; f++) {
        if (to.followed[2 * f] != layer || to.followed[2 * f + 1] != head) continue;
        add_groups(weights, r, n, 1 / (float)s->followed, to.attended + token * s->groups);
        if (to.attention) copy_weights(weights, r, n, to.attention + (token * s->followed + f) * to.stored);
    }
}

/* Number of tokens from t on with the same cross-attention window, at most TILE. */
static long of_one_window(const Token *tokens, long t, long count) {
    long n = 1;
    while (n < TILE && t + n < count && tokens[t + n].cross == tokens[t].cross) n++;
    return n;
}

/* A head whose positions have their weights: those of `count` tokens from `token` on. */
typedef struct {
    long token, count, stored, number;
    Head head;
    Groups heard;
    Listening in;
} Weighed;

/* Have the memory send the values that have a weight, of heads of whole panels. Inlined: GCC omits calls of a
   function that only fetches. */
INLINE void fetch_values(const Weighed *from, long width) {
    for (long c = 0; c + PANEL <= width && from->heard.which; c += PANEL) {
        const int8_t *panel = from->head.values + c * up(from->stored, LANES);
        for (long i = 0; i < from->heard.count; i++)
            UNROLL for (int b = 0; b < DEPTH * PANEL; b += 64)
                __builtin_prefetch(panel + from->heard.which[i] * DEPTH * PANEL + b, 0, 1);
    }
}

static void finish(const DecoderShape *s, const Weighed *from, long layer, Ears to, Step *in) {
    long inner = s->heads * s->width;
    sum_values(from->in, from->count, from->stored, s->width, from->head, from->heard,
               in->summed + from->token * inner + from->number * s->width, inner);
    for (long r = 0; r < from->count; r++)
        tell(s, to, from->in.weights, r, from->stored, from->token + r, layer, from->number);
}

/* The values of a head arrive while the next one is weighed: there are megabytes of them, and not even half are
   read, so the processor does not guess which. */
static void cross_attention(const DecoderShape *s, const Token *tokens, long count, long layer, Ears to,
                            Step *in) {
    long width = s->width, inner = s->heads * width, turn = 0;
    Weighed before = {0};
    for (long t = 0, some; t < count; t += some) {
        long stored = tokens[t].stored;
        Cross window = cross_at((uintptr_t)tokens[t].cross, stored, width);
        some = of_one_window(tokens, t, count);
        for (long h = 0; h < s->heads; h++, turn++) {
            Weighed now = {t, some, stored, h, head_of(window, layer * s->heads + h), {0}, in->listening[turn % 2]};
            now.heard = weigh(in->projected + t * inner + h * width, some, inner, stored, width, now.head, window.bias,
                              now.in);
            fetch_values(&now, width);
            if (before.count) finish(s, &before, layer, to, in);
            before = now;
        }
    }
    finish(s, &before, layer, to, in);
}

/* `caches`: keys and values of the first layer, and so on, of the first piece, and so on. */
static void decoder_layer(const DecoderShape *s, const Token *tokens, long count, long layer,
                          const void *const **weights, float *const *caches, Ears to, Step *in) {
    long d = s->d, inner = s->heads * s->width;
    Norm before = next_norm(weights);
    Linear all = next_linear(weights), out = next_linear(weights);
    normalised(in->x, count, d, before, in->block);
    product(in->block.rows, count, d, 3 * inner, all, in->projected, 3 * inner);
    Past past = {caches + 2 * layer, 2 * s->layers};
    self_attention(s, tokens, count, past, in);
    add_linear(in->x, in->summed, count, inner, d, out, in->block);
    Norm between = next_norm(weights);
    Linear query = next_linear(weights), cross_out = next_linear(weights);
    normalised(in->x, count, d, between, in->block);
    product(in->block.rows, count, d, inner, query, in->projected, inner);
    cross_attention(s, tokens, count, layer, to, in);
    add_linear(in->x, in->summed, count, inner, d, cross_out, in->block);
    Norm last = next_norm(weights);
    Linear wider = next_linear(weights), narrower = next_linear(weights);
    feed_forward(in->x, count, d, s->ffn, last, wider, narrower, in->block);
}

/* Up to BLOCK tokens, over windows of up to `stored` positions, to their states [count, d]. `weights`:
   token embedding, its scales and position table, then four arrays per linear layer and two per norm, in
   the order of the computation; queries of self-attention are scaled for exponents of two. For `caches` see
   decoder_layer, for the other arguments Ears. d, ffn and width are multiples of LANES, width at most
   MOST_WIDTH. */
void SET(decoder_run)(const DecoderShape *shape, const void *const *weights, const Token *tokens, long count,
                      float *const *caches, const int64_t *followed, float *states, float *attended,
                      float *attention, long stored, char *scratch) {
    Step in;
    long d = shape->d;
    Ears to = {followed, attended, attention, stored};
    lay_out_step(shape, stored, (uintptr_t)scratch, &in);
    for (int i = 0; i < 2; i++) clear(in.listening[i].zeros, shape->width);
    clear(attended, count * shape->groups);
    Embedding from = {weights[0], weights[1], weights[2]};
    weights += 3;
    for (long t = 0; t < count; t++) embed(tokens + t, from, d, in.x + t * d);
    for (long i = 0; i < shape->layers; i++)
        decoder_layer(shape, tokens, count, i, &weights, caches, to, &in);
    Norm last = next_norm(&weights);
    for (long t = 0; t < count; t++) norm(in.x + t * d, d, last, states + t * d);
}
