"""Readers of published Whisper weights: safetensors, OpenAI's checkpoints, CTranslate2's folders."""
