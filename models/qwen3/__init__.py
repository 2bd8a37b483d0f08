"""The Qwen3-ASR family in the layout of encoder, decoder_init, decoder_step and embed_tokens.bin."""
