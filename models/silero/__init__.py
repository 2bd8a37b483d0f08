"""Silero's voice activity network: weights under the MIT licence (README.md)."""
