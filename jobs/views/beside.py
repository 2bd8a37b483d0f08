"""Places row files next to their audio: `talk.srt` next to `talk.mp3`.

A file that asr-batch did not write is never overwritten: `beside.txt` in the data set lists the files that
it wrote, one path per line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asr_batch.jobs.views.names import safe_stem
from asr_batch.manifests.location import Base, is_remote
from asr_batch.manifests.records import AudioItem

FILE = "beside.txt"


class Beside:
    """Paths next to the audio of the rows of one manifest.

    If several rows would share a name (`a.wav` and `a.mp3`, or two spans of one file), the first in the
    manifest gets it, and the others add their id.
    """

    def __init__(self, root: Path, base: Base, items: Iterable[AudioItem]) -> None:
        self._record, self._base = root / FILE, base
        self._holders: dict[int, int] = {}
        self._odd: dict[str, str] = {}
        for item in items:
            self._holders.setdefault(hash(_stem(item.location)), hash(item.id))
            if base.locate(item.audio) != item.location:
                self._odd[item.id] = item.location  # a name that is not UTF-8
        self._ours = set(self._recorded())

    def _recorded(self) -> Iterable[str]:
        try:
            text = self._record.read_bytes()
        except OSError:
            return []
        return os.fsdecode(text).split("\n")

    def path(self, row: Mapping[str, Any], form: str) -> Path | None:
        """The path of the row's file; None for remote audio."""
        location = self._odd.get(row["id"]) or self._base.locate(row["audio"])
        if location is None or is_remote(location):
            return None
        stem = _stem(location)
        own = self._holders.get(hash(stem)) == hash(row["id"])
        return Path(f"{stem}.{form}" if own else f"{stem}.{safe_stem(row['id'])}.{form}")

    def may(self, path: Path) -> bool:
        """Whether asr-batch wrote the path, or it is free in a writable folder."""
        return self.owns(path) or (not os.path.lexists(path) and os.access(path.parent, os.W_OK))

    def note(self, path: Path) -> None:
        """Record the path as written. Raises OSError."""
        if not self.owns(path):
            with self._record.open("ab") as record:
                record.write(os.fsencode(path) + b"\n")
            self._ours.add(os.fspath(path))

    def owns(self, path: Path) -> bool:
        """Whether asr-batch wrote this path before."""
        return os.fspath(path) in self._ours


def _stem(location: str) -> str:
    return os.path.splitext(location)[0]  # noqa: PTH122 - a million times
