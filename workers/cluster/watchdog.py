"""Ends an embedded Ray whose driver was killed. Run as a script in a separate session.

Ray's daemons notice a dead driver by themselves, its agents only after a minute, and nobody removes the
files. The driver holds the other end of standard input and writes a line for each daemon that it starts:
its process id, which is also the id of the session that the daemon and its children form. When the input
closes, the driver is gone. The argument is the folder to remove.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path


def members(sessions: set[int]) -> list[int]:
    """Process ids in the given sessions, without zombies."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) in sessions and state != "Z":
                found.append(int(folder.name))
    return found


def end(sessions: set[int], folder: str) -> None:
    """Kill all processes in the sessions, and remove the folder."""
    for _ in range(100):
        left = members(sessions)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    told = sys.stdin.read()
    end({int(line) for line in told.split()}, sys.argv[1])
