"""Encoder, decoder and vocabulary as C functions, for processors with the necessary instructions."""
