"""Whether two machines mean the same file by a path: told by its size and the time of its last change."""

from __future__ import annotations

from pathlib import Path

from asr_batch.manifests.location import is_remote

FileStamp = tuple[int, int]
"""Size in bytes and time of last change in ns."""

CLOCK = 2_000_000_000
"""By how many ns times of change may differ for the same file: FAT and SMB keep them to 2 s."""


def stamp(location: str) -> FileStamp | None:
    """The stamp of a local file; None where there is no such file or it is remote."""
    if is_remote(location):
        return None
    try:
        found = Path(location).stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def same_file(location: str, expected: FileStamp) -> bool:
    """Whether the file at `location` on this machine is the one that has the stamp `expected`."""
    found = stamp(location)
    return found is not None and found[0] == expected[0] and abs(found[1] - expected[1]) <= CLOCK
