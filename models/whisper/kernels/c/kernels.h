/* The kernels, compiled once for each set of instructions: simd/SET.c names the set, its vector layer and
   the instructions that the compiler may use, and includes this.

   What makes them faster than a graph of operators: rows are normalised, turned into bytes, multiplied, put
   through GELU and turned into bytes again while they are in the cache, BLOCK rows at a time; the scores of
   six queries never leave it; logits are summed up while they are in it.

   Every row of activations has its own scale and zero point, every column of weights its own scale. Keys
   lose their mean, a constant that softmax does not see (SageAttention, https://arxiv.org/abs/2410.02367), and
   have a scale each, values one per channel; softmax weights are bytes of their largest.

   All sets give the same numbers to the last bit: sums of bytes are exact, and everything else goes through
   vectors of LANES numbers, whose sums have one order, with operations that IEEE 754 defines. So nothing may
   be computed with other numbers than these (-ffp-contract=off). */
#include <stddef.h>
#include <stdint.h>

#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif
#define UNROLL _Pragma("GCC unroll 8")

enum {
    LANES = 16,   /* numbers of a vector */
    TILE = 6,     /* rows that are multiplied together */
    BLOCK = 48,   /* rows that go through linear layers together */
    GROUP = 4,    /* positions whose attention is summed: alignment.GROUP */
    COLUMNS = 64, /* logits that are summed up together: whole panels of every set */
};

INLINE int32_t four_bytes(const uint8_t *from) {
    int32_t found;
    __builtin_memcpy(&found, from, 4);
    return found;
}

#include SIMD

enum { PANEL = VECTORS * LANES /* columns that are multiplied together */ };

/* What the weights' layout depends on: columns of a panel, and bytes of a column that lie side by side. */
const int32_t SET(kernels_layout)[2] = {PANEL, DEPTH};

#include "memory.h"
#include "arithmetic.h"
#include "product.h"
#include "attention.h"
#include "layers.h"
#include "encoder.h"
#include "cross.h"
#include "decoder.h"
#include "vocabulary.h"
