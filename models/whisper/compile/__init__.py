"""Compiles Whisper weights to a bundle."""
