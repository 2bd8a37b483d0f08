/* Scratch memory in blocks aligned to cache lines, and the structures stored in it. */

static long up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

static long least(long a, long b) { return a < b ? a : b; }

static long most(long a, long b) { return a > b ? a : b; }

/* Allocate `bytes` from *at on. Without memory (*at starts at 0) it only counts. */
static void *take(uintptr_t *at, long bytes) {
    void *found = (void *)*at;
    *at += (uintptr_t)up(bytes, 64);
    return found;
}

static float *take_floats(uintptr_t *at, long n) { return take(at, n * (long)sizeof(float)); }

static int32_t *take_ints(uintptr_t *at, long n) { return take(at, n * (long)sizeof(int32_t)); }

/* Quantised rows. A byte b of row r represents (b - middle) * step[r] + zero[r]; without `zero` it is zero. */
typedef struct {
    uint8_t *bytes;
    float *step, *zero;
    int32_t middle;
} Rows;

static Rows take_rows(uintptr_t *at, long rows, long n) {
    Rows made = {take(at, rows * n), take_floats(at, rows), take_floats(at, rows), 0};
    return made;
}

/* A matrix [k, n] in panels of PANEL columns (the last may be narrower, a multiple of LANES). Each panel
   stores DEPTH rows at a time, with the bytes of a column adjacent. A value is its byte times the column's
   `scale`; `totals` are the sums of each column's bytes. */
typedef struct {
    const int8_t *panels;
    const float *scale;
    const int32_t *totals;
    const float *bias;
} Linear;

typedef struct {
    const float *weight, *bias;
} Norm;

/* The next array of a list in the order of the computation. */
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
