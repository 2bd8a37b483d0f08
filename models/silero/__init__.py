"""Silero's voice activity network."""
