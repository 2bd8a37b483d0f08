"""Words, seams between windows, whole transcripts."""
