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

/* `height` rows of k bytes from row r on, at most TILE, times `vectors` * LANES columns from column c on, the
   start of a panel; bytes outside of `some` are 0. */
INLINE void tile(const int height, const int vectors, const Rows *a, long r, long k, Groups some,
                 const Linear *with, long c, float *out, long ldo) {
    ints start[VECTORS], sum[TILE][VECTORS];
    const ints bytes_are_off_by = i_set((SIGNED ? 128 : 0) - a->middle);
    UNROLL for (int j = 0; j < vectors; j++)
        start[j] = i_mul(i_load(with->totals + c + LANES * j), bytes_are_off_by);
    dots(height, vectors, a->bytes + r * k, k, with->panels + c * k, some.which, some.count, start,
         sum);
    UNROLL for (int j = 0; j < vectors; j++) {
        floats scale = f_load(with->scale + c + LANES * j), bias = f_load(with->bias + c + LANES * j);
        floats sums = f_mul(i_floats(i_load(with->totals + c + LANES * j)), scale);
        UNROLL for (int i = 0; i < height; i++) {
            floats rest = a->zero ? f_fma(f_set(a->zero[r + i]), sums, bias) : bias;
            floats y = f_mul(i_floats(sum[i][j]), f_set(a->step[r + i]));
            f_store(out + i * ldo + LANES * j, f_fma(y, scale, rest));
        }
    }
}

/* `height` rows from row r on times a panel of up to PANEL columns. */
INLINE void strip(const int height, long columns, const Rows *a, long r, long k, Groups some, const Linear *with,
                  long c, float *out, long ldo) {
    if (columns >= PANEL) return tile(height, VECTORS, a, r, k, some, with, c, out, ldo);
    if (columns == 3 * LANES) return tile(height, VECTORS > 3 ? 3 : 1, a, r, k, some, with, c, out, ldo);
    if (columns == 2 * LANES) return tile(height, VECTORS > 2 ? 2 : 1, a, r, k, some, with, c, out, ldo);
    tile(height, 1, a, r, k, some, with, c, out, ldo);
}

/* Not inlined: with little else around the inner loop, GCC finds registers for all of its sums. */
#define STRIP(name, height)                                                                                    \
    static __attribute__((noinline)) void name(const Rows *a, long r, long k, long columns, const Linear *with, \
                                               long c, float *out, long ldo) {                                 \
        const Groups all = {0, k / DEPTH};                                                                     \
        strip(height, columns, a, r, k, all, with, c, out, ldo);                                               \
    }

/* The heights of strips; five rows are three and two. */
#define EACH_HEIGHT(make, kind)                                                                                \
    make(kind##_six, 6) make(kind##_four, 4) make(kind##_three, 3) make(kind##_two, 2) make(kind##_one, 1)
#define OF_HEIGHT(kind, rows)                                                                                  \
    ((rows) == 6   ? kind##_six                                                                                \
     : (rows) == 4 ? kind##_four                                                                               \
     : (rows) == 3 ? kind##_three                                                                              \
     : (rows) == 2 ? kind##_two                                                                                \
                   : kind##_one)

EACH_HEIGHT(STRIP, strip_of)

/* Rows to multiply together if `left` are left. */
static long rows_of(long left) { return left >= TILE ? TILE : left == 5 ? 3 : left; }

/* `rows` rows of k bytes times `with` [k, n] into out [rows, ldo]; k and n are multiples of LANES. A panel
   stays in the cache while all rows are multiplied with it. */
static void product(Rows a, long rows, long k, long n, Linear with, float *out, long ldo) {
    for (long c = 0; c < n; c += PANEL)
        for (long r = 0, some; r < rows; r += some) {
            some = rows_of(rows - r);
            OF_HEIGHT(strip_of, some)(&a, r, k, n - c, &with, c, out + r * ldo + c, ldo);
        }
}

#define SPARSE_STRIP(name, height)                                                                             \
    static __attribute__((noinline)) void name(const Rows *a, long r, long k, Groups some, long n,             \
                                               const Linear *with, float *out, long ldo) {                     \
        for (long c = 0; c < n; c += PANEL) strip(height, n - c, a, r, k, some, with, c, out + c, ldo);        \
    }
EACH_HEIGHT(SPARSE_STRIP, sparse)

/* Like product, for rows whose bytes outside of `some` are all 0. */
static void sparse_product(Rows a, long rows, long k, Groups some, long n, Linear with, float *out, long ldo) {
    for (long r = 0, more; r < rows; r += more) {
        more = rows_of(rows - r);
        OF_HEIGHT(sparse, more)(&a, r, k, some, n, &with, out + r * ldo, ldo);
    }
}
