/* Calls the kernels as a file says and compares what they give, to the last bit.

   replay FILE [SET ...]: the sets named, or all that this machine can run. test_replay.py writes the file:
   for each layout of weights (panel, depth) the same calls. All numbers are little-endian, 8 bytes:

   the number of layouts; for each its panel, its depth, the number of calls; for each call the length of its
   name, the name and a zero, the number of its arguments; for each argument its kind and:
     0  a number
     1  bytes to read: their length, the bytes
     2  bytes to write, zeros before: their length, the bytes that are expected
     3  places of arrays: their number, for each its length and the bytes
     4  scratch memory: its length
     5  memory that calls share: which (0 to 7); the first to name it gives it 16 MiB
     6  tokens for decoder_run: their length, the bytes; `cross` says which memory that is

   Scratch memory is filled with what nobody may rely on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ARGUMENTS = 12, ALIGNED = 64, SHARED = 1 << 24 };

const char *const *kernels_sets(void);

typedef void Function(void);

#define EACH_SET(X) X(avx512vnni) X(avxvnni) X(avx2) X(neoni8mm) X(neondot) X(neon) X(portable)
#define EACH_FUNCTION(X, set)                                                                                  \
    X(encoder_run, set) X(vocabulary_run, set) X(cross_run, set) X(decoder_run, set) X(silero_run, set)
#define DECLARE(name, set) __attribute__((weak)) extern Function name##_##set;
#define DECLARE_SET(set)                                                                                       \
    __attribute__((weak)) extern const int32_t kernels_layout_##set[2];                                        \
    EACH_FUNCTION(DECLARE, set)
EACH_SET(DECLARE_SET)

#define NAME(name, set) {#name, #set, name##_##set},
#define NAME_SET(set) EACH_FUNCTION(NAME, set)
static const struct {
    const char *name, *set;
    Function *function;
} FUNCTIONS[] = {EACH_SET(NAME_SET)};

#define LAYOUT(set) {#set, kernels_layout_##set},
static const struct {
    const char *set;
    const int32_t *layout;
} LAYOUTS[] = {EACH_SET(LAYOUT)};

static FILE *file;

static int64_t number(void) {
    int64_t found;
    if (fread(&found, sizeof found, 1, file) != 1) exit(2);
    return found;
}

static char *allocated(int64_t bytes) {
    char *found = aligned_alloc(ALIGNED, (size_t)(bytes + ALIGNED) / ALIGNED * ALIGNED);
    if (!found) exit(2);
    return found;
}

static char *bytes(int64_t length) {
    char *found = allocated(length);
    if (fread(found, 1, (size_t)length, file) != (size_t)length) exit(2);
    return found;
}

typedef struct {
    int64_t kind, length;
    char *place, *expected;
} Argument;

static char *shared(int64_t which) {
    static char *memory[8];
    if (!memory[which & 7]) memory[which & 7] = allocated(SHARED);
    return memory[which & 7];
}

static void with_addresses(int64_t *tokens, int64_t length) {
    for (int64_t i = 4; i < length / 8; i += 5) tokens[i] = (int64_t)(intptr_t)shared(tokens[i]);
}

static Argument argument(void) {
    Argument made = {number(), number(), 0, 0};
    switch (made.kind) {
    case 1: made.place = bytes(made.length); break;
    case 2:
        made.expected = bytes(made.length);
        memset(made.place = allocated(made.length), 0, (size_t)made.length);
        break;
    case 3:
        made.place = allocated(made.length * (int64_t)sizeof(char *));
        for (int64_t i = 0; i < made.length; i++) ((char **)(void *)made.place)[i] = bytes(number());
        break;
    case 4: memset(made.place = allocated(made.length), 0xa5, (size_t)made.length); break;
    case 5: made.place = shared(made.length); break;
    case 6: with_addresses((int64_t *)(void *)(made.place = bytes(made.length)), made.length);
    }
    return made;
}

static int64_t value(Argument one) { return one.kind ? (int64_t)(intptr_t)one.place : one.length; }

static void let_go(Argument one) {
    for (int64_t i = 0; one.kind == 3 && i < one.length; i++) free(((char **)(void *)one.place)[i]);
    if (one.kind != 5) free(one.place);
    free(one.expected);
}

typedef void Called(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                    int64_t, int64_t);

static Function *function_of(const char *name, const char *set) {
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
        if (!strcmp(FUNCTIONS[i].name, name) && !strcmp(FUNCTIONS[i].set, set)) return FUNCTIONS[i].function;
    exit(2);
}

/* One call; whether it gave what is expected. Where it is not for `set` it is only read. */
static int call(const char *set) {
    char *name = bytes(number()); /* ends in a zero */
    Argument arguments[MOST_ARGUMENTS] = {{0}};
    int64_t count = number(), v[MOST_ARGUMENTS], right = 1;
    for (int64_t i = 0; i < count; i++) arguments[i] = argument();
    for (int64_t i = 0; i < MOST_ARGUMENTS; i++) v[i] = value(arguments[i]);
    if (set) {
        /* Every argument is a number of 64 bits or a place: all are passed alike on both architectures. */
        Called *run = (Called *)function_of(name, set);
        run(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]);
    }
    for (int64_t i = 0; set && i < count; i++)
        if (arguments[i].expected)
            right &= !memcmp(arguments[i].place, arguments[i].expected, (size_t)arguments[i].length);
    if (!right) printf("%s: %s gives other numbers\n", set, name);
    for (int64_t i = 0; i < count; i++) let_go(arguments[i]);
    free(name);
    return (int)right;
}

static int replay(const char *path, const char *set) {
    const int32_t *layout = 0;
    for (size_t i = 0; i < sizeof LAYOUTS / sizeof *LAYOUTS; i++)
        if (!strcmp(LAYOUTS[i].set, set)) layout = LAYOUTS[i].layout;
    file = fopen(path, "rb");
    if (!file || !layout) exit(2);
    int right = 1;
    long calls = 0;
    for (int64_t layouts = number(); layouts; layouts--) {
        int64_t panel = number(), depth = number();
        int ours = panel == layout[0] && depth == layout[1];
        for (int64_t left = number(); left; left--, calls += ours) right &= call(ours ? set : 0);
    }
    fclose(file);
    printf("%s: %ld calls, %s\n", set, calls, right && calls ? "right" : "WRONG");
    return right && calls;
}

int main(int count, char **given) {
    int right = 1, done = 0;
    for (const char *const *able = kernels_sets(); *able; able++) {
        int wanted = count == 2;
        for (int i = 2; i < count; i++) wanted |= !strcmp(given[i], *able);
        if (!wanted) continue;
        right &= replay(given[1], *able);
        done++;
    }
    if (done < count - 2) printf("this machine cannot run all of them\n");
    return !right || done < count - 2;
}
