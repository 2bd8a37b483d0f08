/* Prints the largest errors of the elementary functions: of exp2_of, relative, and of gelu_of. */
#include <math.h>
#include <stdio.h>

#include "portable.c"

int main(void) {
    double power = 0, bell = 0;
    for (long i = 0; i < 4000000; i++) {
        float x = (float)(-120 + i * (240.0 / 4000000)), y = x / 8, found[LANES];
        f_store(found, exp2_of(f_set(x)));
        power = fmax(power, fabs(found[0] / exp2(x) - 1));
        f_store(found, gelu_of(f_set(y)));
        bell = fmax(bell, fabs(found[0] - y * erfc(-y * M_SQRT1_2) / 2));
    }
    float least[LANES], one[LANES];
    f_store(least, exp2_of(f_set(-1e30f)));
    f_store(one, exp2_of(f_set(0)));
    printf("%.3e %.3e %d\n", power, bell, least[0] == ldexpf(1, -120) && one[0] == 1);
    return 0;
}
