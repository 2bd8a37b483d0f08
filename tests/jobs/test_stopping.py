"""Jobs under Ray that are told to stop, at any moment: by a person, by cron, by systemd."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]
ROWS = 450  # more than are done before the second signal
SLOW = pytest.mark.slow


@pytest.fixture
def job(tmp_path: Path):
    """Start a job of many rows with the bundled model, in a process group of its own."""
    samples, rate = soundfile.read(ROOT / "tests/data/audio/dev-0001.flac", dtype="float32")
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 200)[: rate * (ROWS + 10)], rate)
    lines = [f"r{i},long.wav,{i},{i + 8}" for i in range(ROWS)]
    (tmp_path / "m.csv").write_text("id,audio,start,end\n" + "\n".join(lines) + "\n")
    started = []

    def start(*more: str) -> subprocess.Popen:
        words = ["run", "m.csv", "--out", "out", "--model", "nano.en", "--threads", "1", "--batch-size", "1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "asr_batch.jobs", *words, "--workers", "1", "--progress", "none", *more],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(told, process, seconds=100.0) -> None:
    end = time.monotonic() + seconds
    while not told():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def committed(out: Path) -> int:
    return sum(pq.read_metadata(part).num_rows for part in (out / "transcripts").glob("*.parquet"))


def everything(process) -> list[int]:
    """Process ids of the job and all that came of it, as a control group has them."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
    found = [process.pid]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def strike(process, number: int, whom: str) -> None:
    """Send a signal as `kill` and cron do, as a terminal does, as systemd does."""
    if whom == "group":
        os.killpg(process.pid, number)
        return
    for pid in everything(process) if whom == "unit" else [process.pid]:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def check_stopped(process, out: Path, code: int, *, some: bool = True) -> None:
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert stdout == "out\n"
    assert "the same command resumes" in stderr
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["exit_code"], summary["ending"]) == (code, "stopped")
    rows = summary["rows"]
    assert rows["failed"] == 0
    assert (rows["ok"] + rows["empty"] + rows["partial"] > 0) == some
    shown = subprocess.run(
        [sys.executable, "-m", "asr_batch.jobs", "status", out], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(f"{out}: stopped\n")


@pytest.mark.parametrize(
    ("number", "whom"),
    [
        (signal.SIGTERM, "unit"),
        pytest.param(signal.SIGTERM, "process", marks=SLOW),
        pytest.param(signal.SIGINT, "group", marks=SLOW),
        pytest.param(signal.SIGINT, "process", marks=SLOW),
    ],
)
def test_in_the_middle(job, tmp_path, number, whom):
    process, out = job(), tmp_path / "out"
    wait_for(lambda: committed(out), process)
    strike(process, number, whom)
    check_stopped(process, out, 128 + number)


@SLOW
def test_stopped_and_started_again_until_it_is_done(job, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        before, process = committed(out), job()
        wait_for(lambda before=before: committed(out) > before, process)
        strike(process, signal.SIGTERM, "unit")
        check_stopped(process, out, 143)
    process = job()
    _, stderr = process.communicate(timeout=150)
    assert process.returncode in (0, 3), stderr
    assert json.loads((out / "summary.json").read_text())["rows"]["pending"] == 0


@SLOW
@pytest.mark.parametrize("wait", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_while_ray_starts(job, tmp_path, wait):
    process, out = job(), tmp_path / "out"
    wait_for((out / ".lock").exists, process)
    time.sleep(wait)
    strike(process, signal.SIGTERM, "unit")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr


@SLOW
def test_a_second_signal_does_not_wait_for_what_runs(job, tmp_path):
    process, out = job("--grace", "600"), tmp_path / "out"
    wait_for(lambda: committed(out), process)
    strike(process, signal.SIGTERM, "process")
    time.sleep(0.05)
    strike(process, signal.SIGTERM, "process")
    check_stopped(process, out, 143)


@SLOW
@pytest.mark.parametrize("wait", [0.0, 0.3, 0.8])
def test_at_the_end_a_signal_comes_too_late(job, tmp_path, wait):
    process, out = job(), tmp_path / "out"
    wait_for((out / "summary.json").exists, process)
    time.sleep(wait)
    strike(process, signal.SIGTERM, "unit")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode in (0, 3), stderr
    assert stdout == "out\n"
