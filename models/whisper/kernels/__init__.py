"""Encoder and vocabulary as functions in C, for processors that have the instructions."""
