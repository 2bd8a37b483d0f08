"""A job goes on when whoever read its messages is gone: a closed pipe, a closed terminal, no stderr."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CLIP = Path(__file__).parents[1] / "data/audio/dev-0001.flac"
COMMAND = (sys.executable, "-m", "asr_batch.jobs", "run", str(CLIP), "--out", "out", "--model", "nano.en")


def finished(folder: Path) -> bool:
    return (folder / "out/summary.json").exists() and any((folder / "out/transcripts").glob("*.parquet"))


@pytest.mark.parametrize(
    "shell",
    [
        '"$@" 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}',
        '"$@" 2>&-',
        '"$@" >&- 2>&-',
        '"$@" >&-',
        '"$@" | true; exit ${PIPESTATUS[0]}',
    ],
)
def test_streams_that_nobody_reads(tmp_path, shell):
    done = subprocess.run(
        ["bash", "-c", shell, "x", *COMMAND], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert finished(tmp_path)


def test_a_terminal_that_is_closed_stops_the_job_with_what_it_has(tmp_path):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ["TERM"] = "xterm"
        os.execv(COMMAND[0], COMMAND)
    end = time.monotonic() + 60
    while not (tmp_path / "out/log.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.close(terminal)  # SIGHUP to the job, and writing to its terminal fails from now on
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 129, -signal.SIGHUP)
    again = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert finished(tmp_path)
