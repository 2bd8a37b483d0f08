/* The kernels in plain C. */
#define INLINE static inline /* decided by the compiler */
#define SET(name) name##_portable
#define SIMD "simd/portable.h"
#include "../kernels.h"
