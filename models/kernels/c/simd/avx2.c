/* The kernels for AVX2 and FMA: Intel Haswell and newer, AMD Zen. */
#include "../sets.h"
#if WITH_AVX2
#pragma GCC target("avx2,fma")
#define SET(name) name##_avx2
#define SIMD "simd/avx2.h"
#include "../kernels.h"
#endif
