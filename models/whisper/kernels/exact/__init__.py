"""The kernels of `c/` in numpy, bit for bit, for machines without their library."""
