"""Kernels in C, one function each for what takes time, for each instruction set; arithmetic in numpy."""
