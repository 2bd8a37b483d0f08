/* Products of int8 rows and matrices. */

/* `whole` [k, n] from column `start` on, the start of a panel. */
static Linear columns_from(Linear whole, long start, long k) {
    Linear part = {whole.panels + start * k, whole.scale + start, whole.totals + start, whole.bias + start};
    return part;
}

/* Groups of DEPTH bytes of rows: `count` of them, in ascending order, or all (`which` 0). */
typedef struct {
    const int32_t *which;
    long count;
} Groups;

/* A vector of the first of `n` bytes, with zeros behind them. */
INLINE ints bytes_of(const uint8_t *bytes, long n) {
    int32_t few[LANES] = {0};
    if (n >= (long)sizeof few) return i_load((const int32_t *)(const void *)bytes);
    __builtin_memcpy(few, bytes, (size_t)n);
    return i_load(few);
}

/* Store the numbers, from `first` on, of the groups of DEPTH bytes that are not all zero; returns how many.
   `which` has room for LANES. */
INLINE long groups_set(ints bytes, int32_t first, int32_t *which) {
#ifdef i_store_places
    return i_store_places(which, bytes, first);
#else
    int32_t all[LANES];
    long count = 0;
    i_store(all, bytes);
    for (long i = 0; i < LANES; i += DEPTH / 4) {
        which[count] = first + (int32_t)(i * 4 / DEPTH);
        count += (all[i] | all[i + DEPTH / 4 - 1]) != 0;
    }
    return count;
#endif
}

/* `height` rows of k bytes, at most TILE, times a panel of `vectors` * LANES columns; bytes outside of `some`
   are 0. */
INLINE void tile(const int height, const int vectors, Rows a, long k, Groups some, Linear with, float *out,
                 long ldo) {
    ints start[VECTORS], sum[TILE][VECTORS];
    const ints bytes_are_off_by = i_set((SIGNED ? 128 : 0) - a.middle);
    UNROLL for (int j = 0; j < vectors; j++)
        start[j] = i_mul(i_load(with.totals + LANES * j), bytes_are_off_by);
    dots(height, vectors, a.bytes, k, with.panels, some.which, some.count, start, sum);
    UNROLL for (int j = 0; j < vectors; j++) {
        floats scale = f_load(with.scale + LANES * j), bias = f_load(with.bias + LANES * j);
        floats sums = f_mul(i_floats(i_load(with.totals + LANES * j)), scale);
        UNROLL for (int r = 0; r < height; r++) {
            floats rest = f_fma(f_set(a.zero[r]), sums, bias);
            floats y = f_mul(i_floats(sum[r][j]), f_set(a.step[r]));
            f_store(out + r * ldo + LANES * j, f_fma(y, scale, rest));
        }
    }
}

/* `height` rows times a panel of up to PANEL columns. */
INLINE void strip_of(const int height, long columns, Rows a, long k, Groups some, Linear with, float *out,
                     long ldo) {
    if (columns >= PANEL) return tile(height, VECTORS, a, k, some, with, out, ldo);
    if (columns == 3 * LANES) return tile(height, VECTORS > 3 ? 3 : 1, a, k, some, with, out, ldo);
    if (columns == 2 * LANES) return tile(height, VECTORS > 2 ? 2 : 1, a, k, some, with, out, ldo);
    tile(height, 1, a, k, some, with, out, ldo);
}

INLINE void strip(const int height, long columns, Rows a, long k, Linear with, float *out, long ldo) {
    Groups all = {0, k / DEPTH};
    strip_of(height, columns, a, k, all, with, out, ldo);
}

static void strip_of_six(long columns, Rows a, long k, Linear with, float *out, long ldo) {
    strip(6, columns, a, k, with, out, ldo);
}
static void strip_of_four(long columns, Rows a, long k, Linear with, float *out, long ldo) {
    strip(4, columns, a, k, with, out, ldo);
}
static void strip_of_three(long columns, Rows a, long k, Linear with, float *out, long ldo) {
    strip(3, columns, a, k, with, out, ldo);
}
static void strip_of_two(long columns, Rows a, long k, Linear with, float *out, long ldo) {
    strip(2, columns, a, k, with, out, ldo);
}
static void strip_of_one(long columns, Rows a, long k, Linear with, float *out, long ldo) {
    strip(1, columns, a, k, with, out, ldo);
}

/* `rows` rows of k bytes times `with` [k, n] into out [rows, ldo]; k and n are multiples of LANES. A panel
   stays in the cache while all rows are multiplied with it. */
static void product(Rows a, long rows, long k, long n, Linear with, float *out, long ldo) {
    for (long c = 0; c < n; c += PANEL) {
        Linear part = columns_from(with, c, k);
        for (long r = 0; r < rows;) {
            Rows some = {a.bytes + r * k, a.step + r, a.zero + r, a.middle};
            float *to = out + r * ldo + c;
            long left = rows - r;
            if (left >= 6) strip_of_six(n - c, some, k, part, to, ldo);
            else if (left >= 4) strip_of_four(n - c, some, k, part, to, ldo);
            else if (left == 3) strip_of_three(n - c, some, k, part, to, ldo);
            else if (left == 2) strip_of_two(n - c, some, k, part, to, ldo);
            else strip_of_one(n - c, some, k, part, to, ldo);
            r += left >= 6 ? 6 : left >= 4 ? 4 : left;
        }
    }
}

#define SPARSE_STRIP(name, height)                                                                             \
    static void name(Rows a, long k, Groups some, long n, Linear with, float *out, long ldo) {                 \
        for (long c = 0; c < n; c += PANEL)                                                                    \
            strip_of(height, n - c, a, k, some, columns_from(with, c, k), out + c, ldo);                       \
    }
SPARSE_STRIP(sparse_six, 6)
SPARSE_STRIP(sparse_four, 4)
SPARSE_STRIP(sparse_three, 3)
SPARSE_STRIP(sparse_two, 2)
SPARSE_STRIP(sparse_one, 1)

/* Like product, for rows whose bytes outside of `some` are all 0. */
static void sparse_product(Rows a, long rows, long k, Groups some, long n, Linear with, float *out, long ldo) {
    for (long r = 0, more; r < rows; r += more) {
        long left = rows - r;
        more = left >= 6 ? 6 : left >= 4 ? 4 : left;
        Rows part = {a.bytes + r * k, a.step + r, a.zero + r, a.middle};
        (more == 6   ? sparse_six
         : more == 4 ? sparse_four
         : more == 3 ? sparse_three
         : more == 2 ? sparse_two
                     : sparse_one)(part, k, some, n, with, out + r * ldo, ldo);
    }
}
