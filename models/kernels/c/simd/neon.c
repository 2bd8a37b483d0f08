/* The kernels for NEON alone: every 64-bit ARM, such as the Cortex-A72 of a Raspberry Pi 4. */
#include "../sets.h"
#if WITH_NEON
#define SET(name) name##_neon
#define SIMD "simd/neon.h"
#include "../kernels.h"
#endif
