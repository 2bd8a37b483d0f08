"""What to transcribe: the records and errors that all packages share; reading and building manifests.

Does not know models, audio samples, Ray or output formats. All other packages may import it.
"""
