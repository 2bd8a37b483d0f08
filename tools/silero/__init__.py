"""The recipe of `models/silero/silero_v6.safetensors`: published weights as 16-bit integers."""
