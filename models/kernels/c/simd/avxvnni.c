/* The kernels for AVX-VNNI: Intel Alder Lake and newer, AMD Zen 5. */
#include "../sets.h"
#if WITH_AVXVNNI
#pragma GCC target("avx2,fma,avxvnni")
#define VNNI
#define SET(name) name##_avxvnni
#define SIMD "simd/avx2.h"
#include "../kernels.h"
#endif
