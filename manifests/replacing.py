"""Writes files atomically: to a temporary file, which is then renamed."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HIDDEN = ".tmp"
"""Suffix of temporary files; no reader's glob matches it."""


@contextmanager
def replacing(path: Path, *, durable: bool = False, alone: bool = False) -> Iterator[Path]:
    """Yield a path to write to, whose file replaces `path` at the end; it is deleted after an error.

    A link at `path` is replaced, not followed. `durable`: sync the file and its name to disk. `alone`:
    there is no other writer, so the temporary file has a fixed name, and the next attempt reuses one left
    by a crash. Raises OSError.
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
    """Sync a file, or the names in a folder, to disk; some file systems cannot sync folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
