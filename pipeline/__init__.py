"""Transcription on one machine: audio, voice activity, windows, decoding, retries, joining, audit.

Does not know Ray or output formats.
"""
