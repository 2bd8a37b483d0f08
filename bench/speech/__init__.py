"""Recordings of people with what they say, runners that transcribe them, and what the runners got wrong."""
