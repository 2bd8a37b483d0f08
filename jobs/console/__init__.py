"""What a running job shows and hears: progress, messages, logs, metrics, signals."""
