"""A lock per output folder, released when its process ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import OutputError, OutputHeldError

LOCK = ".lock"


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """Lock the folder for writing. Raises OutputHeldError with the holder and its start time, or
    OutputError.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(
            f"{root}: cannot be written ({error.strerror}); expected a writable folder"
        ) from error
    try:
        _lock(descriptor, root)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputHeldError(f"{root} is held by another run: {_describe(holder(root))}") from None
    except OSError as error:
        raise OutputError(
            f"{root}: cannot be locked ({error.strerror}); expected a local file system"
        ) from error
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now})
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError:
        pass  # full disk: the lock holds, but cannot name its holder


def held(root: Path) -> bool:
    """Whether a living process holds the lock now."""
    try:
        descriptor = os.open(root / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(root: Path) -> dict[str, Any]:
    """What the holder recorded about itself: pid, host, start time."""
    try:
        found = json.loads((root / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _describe(who: dict[str, Any]) -> str:
    if not who:
        return "by an unknown process; wait until it ends"
    return f"process {who.get('pid')} on {who.get('host')} since {who.get('since')}"
