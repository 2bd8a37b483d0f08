"""Reads audio files as samples at 16 kHz, with level and speech probability."""
