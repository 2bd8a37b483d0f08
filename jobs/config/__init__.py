"""The settings of a job: one table of keys, set on the command line and in `job.toml`, checked once."""
