"""The nodes that a job may use: how each stands, its signs of life, and what it takes to make it ready."""
