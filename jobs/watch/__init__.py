"""`asr-batch watch`: files that arrive in a folder become rows."""
