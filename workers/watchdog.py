"""Ends an embedded Ray whose driver was killed. Run as a script, in a session of its own.

Ray's daemons notice a dead driver by themselves, its agents only after a minute; and nobody removes the
files. The driver holds the other end of standard input: when that closes, the driver is gone. Arguments:
the mark that the environment of all processes of that Ray holds, and the folder to remove.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "ASR_BATCH_RAY"


def marked(mark: str) -> list[int]:
    """Process ids of this user whose environment holds the mark, without this process."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def end(mark: str, folder: str) -> None:
    """Kill what is marked, until nothing is left, and remove the folder."""
    for _ in range(50):
        left = marked(mark)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1024):
        pass
    end(*sys.argv[1:3])
