"""Output and input of a running job: progress, messages, logs, metrics, signals."""
