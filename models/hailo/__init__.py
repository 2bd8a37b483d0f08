"""The Hailo NPU: device, HEF files, encoder and decoder on it, recovery, checks."""
