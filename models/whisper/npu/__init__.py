"""Whisper on a Hailo NPU: the kit for the vendor's compiler, and the decoder on the NPU."""
