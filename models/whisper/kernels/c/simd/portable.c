/* The kernels in plain C. */
#define INLINE static inline /* as the compiler thinks best */
#define SET(name) name##_portable
#define SIMD "simd/portable.h"
#include "../kernels.h"
