"""Which language a row is spoken in, and where it changes."""
