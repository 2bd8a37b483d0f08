/* Scratch memory, in pieces that begin on a cache line, and the structures that lie in it. */

static long up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

static long least(long a, long b) { return a < b ? a : b; }

static long most(long a, long b) { return a > b ? a : b; }

/* `bytes` of the memory from *at on. Without memory (*at from 0 on) it only counts. */
static void *take(uintptr_t *at, long bytes) {
    void *found = (void *)*at;
    *at += (uintptr_t)up(bytes, 64);
    return found;
}

static float *take_floats(uintptr_t *at, long n) { return take(at, n * (long)sizeof(float)); }

static int32_t *take_ints(uintptr_t *at, long n) { return take(at, n * (long)sizeof(int32_t)); }

/* Rows of bytes. A byte b of row r stands for (b - middle) * step[r] + zero[r]. */
typedef struct {
    uint8_t *bytes;
    float *step, *zero;
    int32_t middle;
} Rows;

static Rows take_rows(uintptr_t *at, long rows, long n) {
    Rows made = {take(at, rows * n), take_floats(at, rows), take_floats(at, rows), 0};
    return made;
}

/* A matrix [k, n] in panels of PANEL columns (the last may be narrower, a multiple of LANES): of each panel
   DEPTH rows at a time, the bytes of a column side by side. A number is its byte times the column's `scale`;
   `totals` are the sums of a column's bytes. */
typedef struct {
    const int8_t *panels;
    const float *scale;
    const int32_t *totals;
    const float *bias;
} Linear;

typedef struct {
    const float *weight, *bias;
} Norm;

/* The next of the arrays that a caller lists in the order of the computation. */
static Linear next_linear(const void *const **weights) {
    Linear found = {(*weights)[0], (*weights)[1], (*weights)[2], (*weights)[3]};
    *weights += 4;
    return found;
}

static Norm next_norm(const void *const **weights) {
    Norm found = {(*weights)[0], (*weights)[1]};
    *weights += 2;
    return found;
}
