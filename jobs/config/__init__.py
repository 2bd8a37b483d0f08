"""The settings of a job: one table of keys, from the command line and `job.toml`, checked once."""
