/* The kernels, compiled once for each instruction set: simd/SET.c names the set, its vector layer and the
   instructions that the compiler may use, and includes this file.

   They are faster than a graph of operators because data stay in the cache: rows are normalised, quantised,
   multiplied, passed through GELU and quantised again, BLOCK rows at a time; the scores of six queries never
   leave it; logits are summed while they are in it.

   Every row of activations has its own scale and zero point, every column of weights its own scale. Keys are
   stored without their mean, a constant that softmax ignores (SageAttention, https://arxiv.org/abs/2410.02367),
   with one scale each, values with one scale per channel; softmax weights are bytes relative to the largest.

   All sets give bit-identical results: integer sums are exact, and everything else is computed with vectors of
   LANES elements, summed in one order, with operations defined by IEEE 754. So the compiler must not contract
   them (-ffp-contract=off). */
#include <stddef.h>
#include <stdint.h>

#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif
#define UNROLL _Pragma("GCC unroll 8")

enum {
    LANES = 16,   /* elements of a vector */
    TILE = 6,     /* rows multiplied together */
    BLOCK = 48,   /* rows processed by linear layers together */
    GROUP = 4,    /* positions whose attention is summed: alignment.GROUP */
    COLUMNS = 64, /* logits summed together: whole panels of every set */
};

INLINE int32_t four_bytes(const uint8_t *from) {
    int32_t found;
    __builtin_memcpy(&found, from, 4);
    return found;
}

INLINE int32_t two_words(const int16_t *from) {
    int32_t found;
    __builtin_memcpy(&found, from, 4);
    return found;
}

#include SIMD

enum { PANEL = VECTORS * LANES /* columns multiplied together */ };

/* The layout of the weights: columns of a panel, and adjacent bytes of a column. */
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
#include "silero.h"
