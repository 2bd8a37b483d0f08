"""ONNX files: reading, checking, writing, and sessions of ONNX Runtime."""
