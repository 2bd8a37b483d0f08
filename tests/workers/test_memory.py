"""A file that eats memory: its row fails, its neighbours do not, and the machine never notices."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr_batch.workers import sizing
from asr_batch.workers.worker import _ran_out_of_memory

ROOT = Path(__file__).resolve().parents[2]
FREE = 1500 << 20
# Started from a small process, because a program's peak begins with that of the process that starts it.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def run(folder, *words):
    """The whole command on a machine with `FREE` bytes free; rows by id, and what it took in bytes."""
    for name in ("a.wav", "eat.wav", "b.wav"):
        shutil.copy(ROOT / "examples" / "telephone.wav", folder / name)
    rows = "id,audio,start\na,a.wav,0\neat-1,eat.wav,0.001\nb,b.wav,0.002\n"
    (folder / "manifest.csv").write_text(rows)
    command = [sys.executable, "-m", "asr_batch.jobs", "run", "manifest.csv", "--out", "out", "--quiet"]
    env = dict(os.environ, PYTHONPATH=str(ROOT / "tests/helpers/misbehave"), MEMORY_FREE=str(FREE))
    measured = [sys.executable, "-c", MEASURED, *command, *words]
    done = subprocess.run(measured, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    taken = int(done.stdout.split()[-1]) * 1024
    dataset = pytest.importorskip("pyarrow.dataset")
    files = sorted(map(str, (folder / "out/transcripts").glob("*.parquet")))
    return {row["id"]: row for row in dataset.dataset(files).to_table().to_pylist()}, taken


@pytest.mark.parametrize(
    "words", [("--no-ray",), pytest.param((), marks=pytest.mark.slow)], ids=["no-ray", "ray"]
)
def test_a_row_that_eats_memory_fails_alone(tmp_path, words):
    rows, taken = run(tmp_path, *words)
    assert rows["eat-1"]["status"] == "failed"
    assert rows["eat-1"]["error_code"] == "out_of_memory"
    assert rows["eat-1"]["attempts"] == 2
    assert rows["a"]["text"] == rows["b"]["text"] != ""
    assert taken < 2 * FREE
    assert json.loads((tmp_path / "out/summary.json").read_text())["rows"]["failed"] == 1


def test_a_bound_holds_and_is_lifted():
    code = (
        "from asr_batch.workers.sizing import MemoryBound\n"
        "bound = MemoryBound(600 << 20)\nbound.hold()\n"
        "try:\n    bytearray(700 << 20)\nexcept MemoryError:\n    print('refused')\n"
        "bytearray(400 << 20)\nbound.lift()\nbytearray(700 << 20)\nprint('lifted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "lifted"]


def test_share_of_a_small_machine_is_enough_to_work_with():
    assert sizing.memory_share(100 << 20, 4) == sizing.LEAST_SHARE
    assert sizing.memory_share(8 << 30, 2) == int(0.4 * (8 << 30))


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("Non-zero status code: std::bad_alloc"), True),
        (RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 5"), True),
        (ValueError("odd"), False),
    ],
)
def test_what_counts_as_running_out_of_memory(error, memory):
    assert _ran_out_of_memory(error) is memory


def test_ray_is_for_jobs_that_several_workers_finish_sooner() -> None:
    assert sizing.ray_threshold(1, 40 << 20) == float("inf")
    two, many = sizing.ray_threshold(2, 40 << 20), sizing.ray_threshold(16, 40 << 20)
    assert many < two < 3600  # with a tiny model an hour of audio pays for Ray
    assert sizing.ray_threshold(2, 1500 << 20) < two / 10
