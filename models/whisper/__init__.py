"""The Whisper family: published ONNX layouts as they are, and our own compiled graphs."""
