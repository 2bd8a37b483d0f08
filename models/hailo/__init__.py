"""The Hailo NPU: device, HEF files, encoder, decoder, recovery, checks (docs/hailo.md)."""
