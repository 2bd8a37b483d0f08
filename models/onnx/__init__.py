"""ONNX files: read at the level of bytes, checked, written, opened in ONNX Runtime."""
