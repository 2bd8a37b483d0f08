"""Audio files that arrive in a folder: those that have stopped growing, each time they are new or changed."""

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
    """Looks at a folder again and again; hidden files and folders are left alone, links not followed.

    A file has settled when size and time of change have stayed the same for `settle` seconds; a file that
    changes later arrives again.
    """

    def __init__(self, folder: Path, settle: float, now: Callable[[], float] = time.monotonic) -> None:
        self.folder, self._settle, self._now = folder, settle, now
        self._seen: dict[Path, _Seen] = {}

    def look(self) -> list[Path]:
        """Files that have settled since the last look, sorted; none when the folder cannot be read."""
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
        return sorted(arrived, key=os.fsencode)

    def _states(self) -> dict[Path, State]:
        found: dict[Path, State] = {}
        for folder, below, names in os.walk(self.folder):
            below[:] = [name for name in below if not name.startswith(".")]
            for name in names:
                if is_audio_name(name) and not name.startswith("."):
                    path = Path(folder, name)
                    try:
                        state = path.stat()
                    except OSError:
                        continue
                    found[path] = (state.st_size, state.st_mtime_ns)
        return found
