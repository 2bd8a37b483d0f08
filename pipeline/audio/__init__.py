"""Audio files to measured samples at 16 kHz."""
