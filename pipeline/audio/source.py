"""Opens the audio of a row without blocking: regular files and bytes only, checked before any decoder."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import ErrorCode, ItemError

Source = Path | bytes
"""A local file, or the compressed bytes of one."""

Stream = io.BufferedIOBase | io.RawIOBase
"""An open source, or a view of one."""

ReadsAt = Callable[[int, int], bytes]
"""Reads bytes of a file by offset and count; fewer at its end."""


class NamedBytes(bytes):
    """The bytes of a file stored elsewhere, with its name, whose extension may determine the codec."""

    name: str = ""

    @classmethod
    def of(cls, data: bytes, name: str) -> NamedBytes:
        """`data` under `name` (a path or a URL)."""
        made = cls(data)
        made.name = name
        return made


def ending(source: Source) -> str:
    """The lower-case extension with its dot; empty without a name."""
    name = getattr(source, "name", "")
    return os.path.splitext(name.partition("?")[0])[1].lower()  # noqa: PTH122 - also of URLs


_KINDS: tuple[tuple[int, str], ...] = (
    (stat.S_IFDIR, "a directory"),
    (stat.S_IFIFO, "a named pipe"),
    (stat.S_IFSOCK, "a socket"),
    (stat.S_IFCHR, "a device"),
    (stat.S_IFBLK, "a device"),
)


def shown(source: Source) -> str:
    """The source's name for messages (invalid UTF-8 and newlines escaped)."""
    if isinstance(source, bytes):
        return f"audio of {len(source)} bytes"
    return ascii(source.name)[1:-1] if not source.name.isprintable() else source.name


def open_source(source: Source) -> io.BufferedIOBase:
    """Open the source for reading, at its first byte.

    Raises ItemError: `not_found`, `unreadable` (not a regular file, no permission), `empty_file`.
    """
    if isinstance(source, bytes):
        if not source:
            raise ItemError("empty_file", "the audio has 0 bytes; expected a sound file")
        return io.BytesIO(source)
    # Without O_NONBLOCK, opening a FIFO waits for a writer.
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


class View(io.RawIOBase):
    """Some bytes of another stream as a file: concatenated stretches [first, last).

    `patches` replaces bytes, by their offset in the view.
    """

    def __init__(
        self,
        stream: io.BufferedIOBase,
        stretches: Sequence[tuple[int, int]],
        patches: Mapping[int, bytes] | None = None,
    ) -> None:
        super().__init__()
        self._stream, self._patches = stream, patches or {}
        self._stretches = [(first, last) for first, last in stretches if last > first]
        self._ends = list(accumulate(last - first for first, last in self._stretches))
        self.size = self._ends[-1] if self._ends else 0
        self._place = 0

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def tell(self) -> int:
        """Offset from the view's first byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; an offset before the first byte is the first byte."""
        base = (0, self._place, self.size)[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer with the available bytes."""
        wanted = max(0, min(len(buffer), self.size - self._place))
        data = self._bytes(self._place, wanted)
        for place, patch in self._patches.items():
            for offset, value in enumerate(patch, place - self._place):
                if 0 <= offset < len(data):
                    data[offset] = value
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _bytes(self, place: int, count: int) -> bytearray:
        """This many bytes, or fewer if the underlying stream has been truncated."""
        data = bytearray()
        index = bisect_right(self._ends, place)
        while len(data) < count:
            at = place + len(data)
            behind = self._ends[index] - at
            self._stream.seek(self._stretches[index][1] - behind)
            part = self._stream.read(min(behind, count - len(data)))
            if not part:
                break
            data += part
            index += len(part) == behind
        return data

    def close(self) -> None:
        """Close the underlying stream too."""
        self._stream.close()
        super().close()


def size_of(stream: io.BufferedIOBase) -> int:
    """Size of an open source in bytes."""
    return len(stream.getvalue()) if isinstance(stream, io.BytesIO) else os.fstat(stream.fileno()).st_size


def reads_at(stream: Stream) -> ReadsAt:
    """Reads anywhere in an open source without moving it. (Not mmap: truncating the file would kill the
    process.)
    """
    if isinstance(stream, io.BytesIO):
        data = stream.getvalue()
        return lambda first, count: data[first : first + count]
    handle = stream.fileno()
    return lambda first, count: os.pread(handle, count, first)


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
