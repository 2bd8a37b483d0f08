"""The Whisper family: published ONNX layouts and compiled bundles."""
