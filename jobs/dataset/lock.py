"""A lock per output folder, released when its process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from asr_batch.jobs.dataset.json_files import read_document
from asr_batch.manifests.errors import ConfigError, OutputHeldError

LOCK = ".lock"


class Holder(Struct, frozen=True):
    """The process that holds a folder."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """Lock the folder before any work starts.

    Raises OutputHeldError (holder, start time), and ConfigError for a folder that cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
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
        who = holder(root) or "an unknown process; wait until it ends"
        raise OutputHeldError(f"{root} is held by another run: {who}") from None
    except OSError as error:
        raise ConfigError(
            f"{root}: cannot be locked ({error.strerror}); expected a local file system"
        ) from error
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    text = msgspec.json.encode(Holder(os.getpid(), socket.gethostname(), now))
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)
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


def holder(root: Path) -> Holder | None:
    """What the holder recorded about itself; None if it could not."""
    return read_document(root / LOCK, Holder)
