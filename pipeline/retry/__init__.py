"""Further decodings of windows whose speech did not become text."""
