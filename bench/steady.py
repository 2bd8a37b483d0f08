"""Measures the memory of one worker's model over many windows of varied length.

    python -m bench.steady [--windows 10000] [--model FOLDER]

Windows of 0.5 to 10 s with 1 to 40 tokens each (without `--model`: Whisper-tiny's size, random weights)
run through the engine. The resident memory is printed after every tenth of them, with the occupancy of the
slots.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, Recognizer, WindowRequest
from bench.inputs import an_existing_folder, start
from bench.random_model import make


def resident_mb() -> float:
    """Resident memory of this process now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def requests(count: int, language: str | None) -> Iterator[WindowRequest]:
    """Noise of varied length with varied token limits, the same in every run."""
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(160000).astype(np.float32) * np.float32(0.05)
    for index in range(count):
        options = DecodeOptions(language=language, max_new_tokens=int(rng.integers(1, 41)))
        yield WindowRequest(index, sound[: int(rng.integers(8000, 160001))].copy(), options)


def compile_apart(source: Path, bundle: Path) -> None:
    """Compile in another process, whose memory does not count."""
    command = [sys.executable, "-m", "asr_batch.jobs", "models", "compile", str(source), str(bundle)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def go_through(model: Recognizer, count: int) -> list[float]:
    """Resident memory after every tenth of `count` windows."""
    waiting = requests(count, "en" if "language_detection" in model.info.capabilities else None)
    done, readings, more = 0, list[float](), True
    while more or model.pending():
        while more and model.room():
            request = next(waiting, None)
            more = request is not None
            if request is not None:
                model.submit(request)
        done += len(model.poll())
        while len(readings) < done * 10 // count:
            readings.append(resident_mb())
            print(f"{done:7} windows {readings[-1]:7.1f} MB", flush=True)
    return readings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=10000)
    parser.add_argument("--model", type=an_existing_folder)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        bundle = args.model or Path(work) / "bundle"
        if args.model is None:
            compile_apart(make(Path(work) / "tiny"), bundle)
        model = load_recognizer(bundle, LoadOptions(threads=args.threads))
        readings = go_through(model, args.windows)
        used, available = model.occupancy()
    first, last = readings[0], readings[-1]
    print(f"from the first tenth to the last: {100 * (last / first - 1):+.1f} %; ", end="")
    print(f"largest {max(readings):.1f} MB; occupancy of the slots {used / available:.3f}")


if __name__ == "__main__":
    start(main)
