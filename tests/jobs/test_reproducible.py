"""The same rows whatever the batch, the order, and however often the run was stopped; with the real model."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.dataset as ds
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.slow


def tables(out: Path):
    rows = {row["id"]: row for row in ds.dataset(out / "transcripts").to_table().to_pylist()}
    windows: dict = {}
    for row in ds.dataset(out / "windows").to_table().to_pylist():
        windows.setdefault(row["id"], []).append((row["index"], row["start"], row["end"], row["tokens"]))
    names = ("status", "text", "segments", "uncovered", "audio_sha256", "settings_sha256")
    return {row_id: ([row[name] for name in names], windows.get(row_id)) for row_id, row in rows.items()}


def manifest(path: Path, seed: int) -> Path:
    with (EXAMPLES / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    place = header.index("audio")
    for row in rows:
        row[place] = str(EXAMPLES / row[place])
    random.Random(seed).shuffle(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def call(*args, where=("--no-ray",)):
    return [sys.executable, "-m", "asr_batch.jobs", "run", *map(str, args), *where, "--quiet"]


def test_batch_order_and_interruption_change_nothing(tmp_path):
    first = manifest(tmp_path / "first.csv", 1)
    assert subprocess.run(call(first, "--out", tmp_path / "a"), check=False).returncode == 3
    second = manifest(tmp_path / "second.csv", 2)
    command = call(second, "--out", tmp_path / "b", "--batch-size", 2)
    for pause in (2.0, 4.0, 6.0):
        process = subprocess.Popen(command)
        time.sleep(pause)
        process.kill()
        process.wait()
    assert subprocess.run(command, check=False).returncode == 3
    assert tables(tmp_path / "a") == tables(tmp_path / "b")
    assert json.loads((tmp_path / "b/summary.json").read_text())["rows"]["pending"] == 0


@pytest.mark.timeout(600)
def test_a_process_of_its_own_ray_and_this_process_write_the_same_rows(tmp_path):
    pytest.importorskip("ray")
    found = []
    for where in ((), ("--workers", "2", "--threads", "1"), ("--no-ray",)):
        out = tmp_path / str(len(found))
        listed = manifest(tmp_path / f"{len(found)}.csv", len(found))
        assert subprocess.run(call(listed, "--out", out, where=where), check=False).returncode == 3
        found.append(tables(out))
        ways = json.loads((out / "summary.json").read_text())["nodes"]
        assert sum(node["workers"] for node in ways) == (2 if "--workers" in where else 1)
    assert found[0] == found[1] == found[2]
