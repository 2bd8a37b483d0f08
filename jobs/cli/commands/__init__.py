"""The commands of `asr-batch`, one module each; :mod:`asr_batch.jobs.cli.main` lists them."""
