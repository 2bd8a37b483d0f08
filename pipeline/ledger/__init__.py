"""The rows of the windows table: what is kept of each window, word times, and speech without text."""
