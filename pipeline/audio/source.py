"""Opens what a row names without ever hanging: regular files and bytes only, checked before any decoder."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path

from asr_batch.manifests.errors import ErrorCode, ItemError

Source = Path | bytes
"""A local file, or the compressed bytes of one."""

_KINDS: tuple[tuple[int, str], ...] = (
    (stat.S_IFDIR, "a directory"),
    (stat.S_IFIFO, "a named pipe"),
    (stat.S_IFSOCK, "a socket"),
    (stat.S_IFCHR, "a device"),
    (stat.S_IFBLK, "a device"),
)


def shown(source: Source) -> str:
    """The source's name as it may stand in a message (bytes that are no UTF-8 and newlines escaped)."""
    if isinstance(source, bytes):
        return f"audio of {len(source)} bytes"
    return ascii(source.name)[1:-1] if not source.name.isprintable() else source.name


def open_source(source: Source) -> io.BufferedIOBase:
    """The source opened for reading, at its first byte.

    Raises ItemError: `not_found`, `unreadable` (no regular file, no permission), `empty_file`.
    """
    if isinstance(source, bytes):
        if not source:
            raise ItemError("empty_file", "the audio holds no bytes; expected a sound file")
        return io.BytesIO(source)
    # Without O_NONBLOCK the open itself waits for a writer when the name is a FIFO.
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _refusal(source, error) from error
    try:
        _check_regular(source, os.fstat(handle))
    except ItemError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def sha256(source: Source) -> str:
    """Hex digest of the source's bytes. Raises ItemError as `open_source`."""
    digest = hashlib.sha256()
    with open_source(source) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_regular(source: Path, found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    for mode, name in _KINDS:
        if kind == mode:
            raise ItemError("unreadable", f"{shown(source)} is {name}; expected a sound file")
    if found.st_size == 0:
        raise ItemError("empty_file", f"{shown(source)} has 0 bytes; expected a sound file")


def _refusal(source: Path, error: OSError | ValueError) -> ItemError:
    name = shown(source)
    code: ErrorCode = "unreadable"
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
        code, text = "not_found", f"{name} does not exist; check the path in the manifest"
    elif isinstance(error, PermissionError):
        text = f"no permission to read {name}; expected a file that this user may read"
    else:
        text = f"{name} cannot be opened: {error.strerror}"
    return ItemError(code, text)
