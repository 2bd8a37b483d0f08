"""Other processors, as far as numpy can be told to behave as on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OTHERS = (
    {},
    {"OPENBLAS_CORETYPE": "Prescott"},
    {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX2 FMA3 X86_V3 X86_V4"},
)


def printed(program: str, *arguments: object) -> Iterator[str]:
    """What the Python `program` prints on each of them."""
    helpers = {"PYTHONPATH": str(Path(__file__).parent)}
    for one in OTHERS:
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            env=os.environ | helpers | one,
            capture_output=True,
            text=True,
            check=True,
        )
        yield done.stdout
