/* The kernels for NEON with dot products: Cortex-A76 (Raspberry Pi 5) and newer. */
#include "../sets.h"
#if WITH_NEONDOT
#pragma GCC target("arch=armv8.2-a+dotprod")
#define DOT
#define SET(name) name##_neondot
#define SIMD "simd/neon.h"
#include "../kernels.h"
#endif
