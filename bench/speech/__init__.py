"""Recordings of people with transcripts, runners that transcribe them, and measures of their errors."""
