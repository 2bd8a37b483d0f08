"""The recipe of `models/silero/silero_v6.onnx`: published weights in a graph over many chunks."""
