"""The report of `asr-batch models inspect` about a model folder."""
