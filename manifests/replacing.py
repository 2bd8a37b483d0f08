"""Files that appear whole: written beside their place, then renamed over what was there."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HIDDEN = ".tmp"
"""The ending of files in the making; no reader's glob matches it."""


@contextmanager
def replacing(path: Path, *, durable: bool = False, alone: bool = False) -> Iterator[Path]:
    """Yield a path to write to, whose file takes the place of `path` at the end; after an error it is gone.

    A link at `path` is replaced, not followed. With `durable` the file and its name are on the disk before
    this ends. `alone`: nobody else writes it, so the hidden file has a fixed name, and one that a crash has
    left is taken over by the next try. Raises OSError.
    """
    own = "" if alone else f".{uuid.uuid4().hex[:8]}"
    hidden = path.with_name(f".{path.name}{own}{HIDDEN}")
    try:
        yield hidden
        if durable:
            sync(hidden)
        hidden.replace(path)
        if durable:
            sync(path.parent)
    finally:
        with suppress(OSError):
            hidden.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; some file systems cannot sync folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
