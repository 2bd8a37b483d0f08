"""The language of a row, and where it changes."""
