"""What to transcribe: the records and errors that all packages share, and reading and building manifests.

Knows nothing of models, audio samples, Ray or output formats. Every other package may import this one.
"""
