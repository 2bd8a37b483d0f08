"""What others publish Whisper's weights in: safetensors, OpenAI's checkpoints, CTranslate2's folders."""
