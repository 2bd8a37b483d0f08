"""Measures how the driver scales: many rows with a recognizer that returns immediately.

`python bench/driver_scale.py --rows 1000000` writes a manifest with that many rows over 1000 small files
(each row another span), plans it, runs it, resumes it, and prints seconds, rows per second, processor
time and peak memory of each step. Each step runs in its own process.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import sys
import tempfile
import time
import wave
from collections import deque
from pathlib import Path

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.model_choice import Choice
from asr_batch.jobs.run import job, session
from asr_batch.jobs.run.planning import Planner
from asr_batch.manifests.reader import open_manifest
from asr_batch.manifests.records import Segment, SpanResult, Unit, WindowRecord
from asr_batch.models.recognizer import ModelInfo
from asr_batch.pipeline.windows.spans import split_item
from asr_batch.workers.pool import NodeStatus, UnitDone

FILES = 1000
TOKENS = tuple(range(20))
INFO = ModelInfo("null", "null", "/null", "0" * 64, "fp32", 10.0)


class NullPool:
    """Returns one window for every unit."""

    info = INFO

    def __init__(self):
        self.queue: deque[Unit] = deque()

    def room(self) -> int:
        return 256 - len(self.queue)

    def submit(self, unit: Unit) -> None:
        self.queue.append(unit)

    def open_units(self):
        return tuple(self.queue)

    def wait(self, timeout: float):
        events = [UnitDone(answer(unit), "null") for unit in self.queue]
        self.queue.clear()
        return events

    def nodes(self):
        return [NodeStatus("here", "127.0.0.1", True, 1, "cpu")]

    def close(self) -> None:
        pass


def answer(unit: Unit) -> SpanResult:
    start, end = unit.start, unit.end if unit.end is not None else unit.start + 1.0
    text = f"The answer to {unit.item.id} is as long as a sentence usually is."
    segment = Segment(start, end, text, -1, -0.2, 0.01, 1.2)
    window = WindowRecord(
        0,
        start,
        end,
        start,
        end,
        "end",
        text,
        tuple(range(20)),
        -0.2,
        0.01,
        1.2,
        speech=1.0,
        segments=(segment,),
    )
    return SpanResult(unit.key, start, end, (window,), "en", None, "", INFO.sha256, "here", 0.01, end - start)


def prepare(folder: Path, rows: int) -> None:
    for number in range(FILES):
        with wave.open(str(folder / f"{number}.wav"), "wb") as stream:
            stream.setparams((1, 2, 8000, 0, "NONE", ""))
            stream.writeframes(number.to_bytes(2, "little") * 8000)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "audio", "start", "speaker"])
        for row in range(rows):
            writer.writerow([f"row-{row:08d}", f"{row % FILES}.wav", row // FILES * 1e-5, f"s{row % 7}"])


def plan(folder: Path) -> None:
    found = Planner().run(open_manifest(str(folder / "manifest.csv")))
    print(json.dumps({"rows": found.rows, "unreadable": found.unreadable, "hours": found.seconds / 3600}))


def run(folder: Path) -> None:
    session.choose_model = lambda *_, **__: Choice(folder, None)
    parts = session.Parts(start_pool=lambda *_: NullPool(), split=split_item)
    options = {"manifest": str(folder / "manifest.csv"), "out": str(folder / "out"), "progress": "plain"}
    code = job.run_job(build_config(options), parts=parts)
    if code:
        sys.exit(code)


def step(name: str, work, folder: Path, rows: int) -> None:
    begun = time.monotonic()
    process = multiprocessing.get_context("spawn").Process(target=measured, args=(work, folder))
    process.start()
    process.join()
    seconds = time.monotonic() - begun
    used = (folder / "used").read_text() if (folder / "used").exists() else "died"
    print(f"{name}: {seconds:.1f} s, {rows / seconds:.0f} rows/s, {used}, exit {process.exitcode}")


def measured(work, folder: Path) -> None:
    try:
        work(folder)
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        told = (
            f"{used.ru_utime + used.ru_stime:.1f} s of processor time, {used.ru_maxrss / 1024:.0f} MB at most"
        )
        (folder / "used").write_text(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        prepare(folder, given.rows)
        step("plan", plan, folder, given.rows)
        step("run", run, folder, given.rows)
        step("resume", run, folder, given.rows)
        parts = sorted((folder / "out/transcripts").glob("*.parquet"))
        print(f"{len(parts)} parts, {sum(p.stat().st_size for p in parts) / 1e6:.1f} MB of transcripts")


if __name__ == "__main__":
    main()
