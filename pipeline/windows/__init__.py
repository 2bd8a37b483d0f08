"""Where a track is cut: spans, silence, pauses, windows."""
