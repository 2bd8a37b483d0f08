"""Runs that are killed at random moments, readers that look on meanwhile, two runs at once."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

SCRIPT = Path(__file__).parent.parent / "helpers/fake_run.py"
COLUMNS = ["id", "status", "text", "segments", "audio_sha256", "settings_sha256", "note", "attempts"]


def start(manifest: Path, out: Path, pause: float = 0.005) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, SCRIPT, manifest, out, str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "started\n"
    return process


def content(out: Path):
    """Rows and windows as any reader finds them, each row once."""
    rows, windows = {}, {}
    for part in sorted((out / "windows").glob("*.parquet")):
        for row in pq.read_table(part, columns=["id", "index", "text", "tokens"]).to_pylist():
            windows.setdefault(row["id"], []).append((row["index"], row["text"], row["tokens"]))
    for part in sorted((out / "transcripts").glob("*.parquet")):
        for row in pq.read_table(part, columns=COLUMNS).to_pylist():
            assert row["id"] not in rows
            rows[row["id"]] = (row, windows.get(row["id"]))
    return rows


def kill_until_done(manifest: Path, out: Path, times: int, seed: int) -> None:
    """Kill the process group again and again; what was seen done must stay as it was seen."""
    draw = random.Random(seed)
    seen: dict = {}
    for _ in range(times):
        process = start(manifest, out)
        time.sleep(draw.uniform(0.0, 0.6))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        found = content(out) if (out / "transcripts").exists() else {}
        assert {row_id: found.get(row_id) for row_id in seen} == seen
        seen = {row_id: entry for row_id, entry in found.items() if entry[1] is not None}
    process = start(manifest, out, 0.0)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("times", "seed"),
    [(4, 1), pytest.param(40, 2, marks=pytest.mark.slow), pytest.param(40, 3, marks=pytest.mark.slow)],
)
def test_killed_at_random_moments_gives_what_an_undisturbed_run_gives(folder, times, seed):
    root = folder(120)
    kill_until_done(root / "manifest.csv", root / "out", times, seed)
    start(root / "manifest.csv", root / "whole", 0.0).communicate()
    assert content(root / "out") == content(root / "whole")
    assert [
        path.name for path in (root / "out").rglob(".*") if path.name not in (".lock", ".status.json")
    ] == []


def test_a_file_system_that_refuses_to_take_more(folder):
    """A limit on the size of files stands for a full disk: it needs no root and strikes in the same calls."""
    root = folder(60)
    command = [sys.executable, SCRIPT, root / "manifest.csv", root / "out", "0"]
    for limit in (0, 1000, 9000, 12000):

        def shrink(limit=limit):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = subprocess.run(command, preexec_fn=shrink, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "the same command resumes" in done.stderr
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(content(root / "out")) == 60


def test_a_second_run_is_turned_away_and_the_lock_dies_with_its_process(folder):
    root = folder(100)
    first = start(root / "manifest.csv", root / "out", 0.2)
    try:
        wait_for(lambda: (root / "out/.lock").exists() and (root / "out/.lock").read_text())
        second = start(root / "manifest.csv", root / "out")
        _, err = second.communicate(timeout=30)
        assert second.returncode == 5
        assert f"process {first.pid}" in err
        assert json.loads((root / "out/.lock").read_text())["since"] in err
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    third = start(root / "manifest.csv", root / "out", 0.0)
    third.communicate(timeout=60)
    assert third.returncode == 0
    assert len(content(root / "out")) == 100


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def test_readers_look_on_during_a_run_that_redoes_rows(folder):
    duckdb = pytest.importorskip("duckdb")
    root = folder(100)
    start(root / "manifest.csv", root / "out", 0.0).communicate()
    for number in range(0, 100, 3):
        (root / f"{number}.wav").write_bytes(b"changed")
    process = start(root / "manifest.csv", root / "out", 0.01)
    queries = 0
    while process.poll() is None:
        glob = f"{root}/out/transcripts/*.parquet"
        count, distinct = duckdb.sql(f"select count(*), count(distinct id) from '{glob}'").fetchall()[0]
        assert count == distinct == 100
        queries += 1
    process.communicate()
    assert process.returncode == 0
    assert queries > 3
