"""Identifies a file across machines by its size and modification time."""

from __future__ import annotations

from pathlib import Path

from asr_batch.manifests.location import is_remote

FileStamp = tuple[int, int]
"""Size in bytes and modification time in ns."""

CLOCK = 2_000_000_000
"""Tolerance in ns for equal modification times: FAT and SMB store them to 2 s."""


def stamp(location: str) -> FileStamp | None:
    """The stamp of a local file; None if it does not exist or is remote."""
    if is_remote(location):
        return None
    try:
        found = Path(location).stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def same_file(location: str, expected: FileStamp) -> bool:
    """Whether the file at `location` on this machine has the stamp `expected`."""
    found = stamp(location)
    return found is not None and found[0] == expected[0] and abs(found[1] - expected[1]) <= CLOCK
