"""Qwen3-ASR in its ONNX layout: encoder, decoder_init, decoder_step and embed_tokens.bin (docs/models.md)."""
