"""Finds audio files in a folder that are new or changed and have stopped growing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.build import is_audio_name

State = tuple[int, int]


@dataclass(slots=True)
class _Seen:
    state: State
    since: float
    told: bool = False


class Arrivals:
    """Scans a folder repeatedly; ignores hidden files and folders, and does not follow links.

    A file has settled if its size and modification time have not changed for `settle` seconds. A file that
    changes later is reported again. `closed` has the errors of folders that the last scan could not read.
    """

    def __init__(self, folder: Path, settle: float, now: Callable[[], float] = time.monotonic) -> None:
        self.folder, self._settle, self._now = folder, settle, now
        self.closed: list[OSError] = []
        self._seen: dict[str, _Seen] = {}

    def look(self) -> list[Path]:
        """Files that have settled since the last scan, sorted; empty if the folder cannot be read."""
        now, arrived, states = self._now(), [], self._states()
        for path in self._seen.keys() - states.keys():
            del self._seen[path]
        for path, state in states.items():
            seen = self._seen.get(path)
            if seen is None or seen.state != state:
                seen = self._seen[path] = _Seen(state, now)
            if not seen.told and now - seen.since >= self._settle and state[0] > 0:
                seen.told = True
                arrived.append(path)
        return [Path(path) for path in sorted(arrived, key=os.fsencode)]

    def _note(self, error: OSError) -> None:
        """Keep the error, unless the folder was removed during the scan."""
        if not isinstance(error, FileNotFoundError) or error.filename == os.fspath(self.folder):
            self.closed.append(error)

    def _states(self) -> dict[str, State]:
        found: dict[str, State] = {}
        self.closed = []
        for folder, below, names in os.walk(self.folder, onerror=self._note):
            below[:] = [name for name in below if not name.startswith(".")]
            for name in names:
                if is_audio_name(name) and not name.startswith("."):
                    path = os.path.join(folder, name)  # noqa: PTH118 - many files, every few seconds
                    try:
                        state = os.stat(path)  # noqa: PTH116
                    except OSError:
                        continue
                    found[path] = (state.st_size, state.st_mtime_ns)
        return found
