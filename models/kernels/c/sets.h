/* The kernel sets that this compiler can build for this processor architecture. */
#if defined(__GNUC__) && !defined(__clang__)
#define GCC __GNUC__
#else
#define GCC 0
#endif

#ifdef __x86_64__
#define WITH_AVX512VNNI (GCC >= 9)
#define WITH_AVXVNNI (GCC >= 11)
#define WITH_AVX2 (GCC >= 9)
#else
#define WITH_AVX512VNNI 0
#define WITH_AVXVNNI 0
#define WITH_AVX2 0
#endif

#if defined(__aarch64__) && !defined(__AARCH64EB__)
#define WITH_NEON (GCC >= 10)
#define WITH_NEONDOT (GCC >= 10)
#define WITH_NEONI8MM (GCC >= 10)
#else
#define WITH_NEON 0
#define WITH_NEONDOT 0
#define WITH_NEONI8MM 0
#endif
