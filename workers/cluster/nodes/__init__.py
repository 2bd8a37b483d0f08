"""The nodes of a job: their state, their heartbeats, and their preparation."""
