"""Models that ship inside the package (data only)."""
