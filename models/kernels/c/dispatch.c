/* The kernel sets that this machine can run. */
#include "sets.h"

#ifdef __aarch64__
#include <sys/auxv.h>
enum { HAS_DOT = 1 << 20, HAS_I8MM = 1 << 13 }; /* HWCAP_ASIMDDP and HWCAP2_I8MM of Linux */
#endif

/* Names, best first; library.py looks for the functions with these suffixes. */
const char *const *kernels_sets(void) {
    static const char *found[8];
    int count = 0;
#if WITH_AVX512VNNI
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        found[count++] = "avx512vnni";
#endif
#if WITH_AVXVNNI
    if (__builtin_cpu_supports("avxvnni") && __builtin_cpu_supports("fma")) found[count++] = "avxvnni";
#endif
#if WITH_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found[count++] = "avx2";
#endif
#if WITH_NEONI8MM
    if (getauxval(AT_HWCAP2) & HAS_I8MM) found[count++] = "neoni8mm";
#endif
#if WITH_NEONDOT
    if (getauxval(AT_HWCAP) & HAS_DOT) found[count++] = "neondot";
#endif
#if WITH_NEON
    found[count++] = "neon";
#endif
    found[count++] = "portable";
    found[count] = 0;
    return found;
}

/* Version of the interface, which library.py compares with its own. */
int kernels_version(void) { return 9; }
