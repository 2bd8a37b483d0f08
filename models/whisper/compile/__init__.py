"""Whisper weights to a compiled bundle."""
