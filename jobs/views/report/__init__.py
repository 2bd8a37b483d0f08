"""The report of a data set: one HTML page with its charts and audio snippets."""
