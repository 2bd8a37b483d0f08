"""Whisper in the published ONNX layouts."""
