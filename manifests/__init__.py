"""What is to be transcribed: records, error tree, manifest readers, validation, file facts, shards.

Knows nothing of models, audio samples, Ray or output formats. Every other room may import this one.
"""
