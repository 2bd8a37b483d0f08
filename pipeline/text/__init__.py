"""Words, joining of windows, whole transcripts."""
