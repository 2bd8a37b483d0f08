"""What `asr-batch models inspect` tells of a model folder."""
