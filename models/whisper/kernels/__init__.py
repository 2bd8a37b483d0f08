"""Encoder, decoder and vocabulary by the kernel library."""
