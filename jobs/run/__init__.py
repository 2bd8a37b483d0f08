"""Runs a job, from its settings to its exit code."""
