"""Facts about a local audio file before dispatch: size, modification time, content hash, duration."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr_batch.manifests.location import is_remote

if TYPE_CHECKING:
    from asr_batch.pipeline.audio.reader import AudioInfo

Probe = Callable[[Path], "AudioInfo"]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts about a row's audio; all None or empty for a remote or unreadable file."""

    size: int | None = None
    mtime_ns: int | None = None
    sha256: str = ""
    info: AudioInfo | None = None

    @property
    def seconds(self) -> float:
        """Duration of the whole file, 0.0 if unknown."""
        return self.info.duration if self.info else 0.0


def stat_file(location: str) -> os.stat_result | None:
    """Size and modification time of a local regular file; None for anything else."""
    if is_remote(location):
        return None
    try:
        found = os.stat(location)  # noqa: PTH116 - a million times
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def hash_file(location: str) -> str:
    """SHA-256 of a regular file's bytes, empty if it cannot be read."""
    try:
        with Path(location).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def probe(path: Path) -> AudioInfo:
    """Duration and format of a file. Raises ItemError."""
    from asr_batch.pipeline.audio import reader as audio

    return audio.probe(path)


def look_at(location: str, *, prober: Probe = probe) -> FileFacts:
    """Facts about the file at `location`; errors are left for the worker to report."""
    found = stat_file(location)
    if found is None:
        return FileFacts()
    sha256 = hash_file(location)
    info: AudioInfo | None = None
    if sha256:
        try:
            info = prober(Path(location))
        except Exception:  # noqa: BLE001 - the worker meets the same file and says why it cannot be read
            info = None
    return FileFacts(found.st_size, found.st_mtime_ns, sha256, info)
