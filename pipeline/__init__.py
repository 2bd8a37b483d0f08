"""Samples to transcript on one machine: audio, voice activity, windows, decoding rules, stitching, audit.

Knows nothing of Ray or of output formats.
"""
