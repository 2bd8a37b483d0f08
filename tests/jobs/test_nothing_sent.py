"""Libraries that would report how they are used are kept from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CLIP = Path(__file__).parents[1] / "data/audio/dev-0001.flac"


def test_a_job_leaves_no_database_of_its_use_in_the_home_folder(tmp_path):
    (tmp_path / "home").mkdir()
    told = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    told = {**told, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": ""}
    words = ("run", str(CLIP), "--out", str(tmp_path / "out"), "--model", "nano.en", "--provider", "cpu")
    done = subprocess.run(
        [sys.executable, "-m", "asr_batch.jobs", *words],
        env=told,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    left = [str(path.relative_to(tmp_path)) for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert left == []
