/* The kernels for AVX-512 VNNI: AMD Zen 4 and newer, Intel servers from Ice Lake on. */
#include "../sets.h"
#if WITH_AVX512VNNI
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,popcnt")
#define SET(name) name##_avx512vnni
#define SIMD "simd/avx512.h"
#include "../kernels.h"
#endif
