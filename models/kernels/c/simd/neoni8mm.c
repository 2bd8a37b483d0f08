/* The kernels for NEON with int8 matrix products: Neoverse V1, Cortex-A710 and newer. */
#include "../sets.h"
#if WITH_NEONI8MM
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#define I8MM
#define SET(name) name##_neoni8mm
#define SIMD "simd/neon.h"
#include "../kernels.h"
#endif
