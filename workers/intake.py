"""Units that a worker has received and not started: they wait, or their audio is being fetched."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING

from asr_batch.manifests.errors import ItemError, RetryableError
from asr_batch.manifests.location import is_remote
from asr_batch.manifests.records import Unit

if TYPE_CHECKING:
    from asr_batch.workers.fetch import Fetcher

Key = tuple[str, int]
Audio = Path | bytes | ItemError | RetryableError
"""A unit's audio, or the error of fetching it."""


class Intake:
    """Units in order of arrival, with their audio once it is available."""

    def __init__(self) -> None:
        self._fetcher: Fetcher | None = None
        self._waiting: deque[Unit] = deque()
        self._fetching: dict[Key, tuple[Unit, Future[Path]]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._fetching)

    @property
    def fetching(self) -> bool:
        """Whether audio is being fetched."""
        return bool(self._fetching)

    def add(self, units: Iterable[Unit]) -> None:
        """Queue units."""
        self._waiting.extend(units)

    def keys(self) -> set[Key]:
        """Keys of all units here."""
        return {unit.key for unit in self._waiting} | set(self._fetching)

    def ready(self, room: Callable[[], int]) -> Iterator[tuple[Unit, Audio]]:
        """Units to start: those that were fetched, and others while there is `room`."""
        for key in [key for key, (_, audio) in self._fetching.items() if audio.done()]:
            unit, audio = self._fetching.pop(key)
            yield unit, _outcome(audio)
        while self._waiting and room() > 0:
            unit = self._waiting.popleft()
            source = self._source(unit)
            if isinstance(source, Future):
                self._fetching[unit.key] = unit, source
            else:
                yield unit, source

    def _source(self, unit: Unit) -> Path | bytes | Future[Path]:
        if unit.payload is not None:
            return unit.payload
        if not is_remote(unit.item.location):
            return Path(unit.item.location)
        if self._fetcher is None:
            from asr_batch.workers.fetch import Fetcher  # the HTTP client is slow to import

            self._fetcher = Fetcher()
        return self._fetcher.source(unit)

    def wait(self, seconds: float) -> None:
        """Wait until audio has been fetched, for at most this long."""
        wait([audio for _, audio in self._fetching.values()], seconds, "FIRST_COMPLETED")

    def release(self, unit: Unit) -> None:
        """Release what was fetched for the unit."""
        if self._fetcher is not None:
            self._fetcher.release(unit)

    def close(self) -> None:
        """End downloads and remove temporary files."""
        if self._fetcher is not None:
            self._fetcher.close()


def _outcome(audio: Future[Path]) -> Audio:
    try:
        return audio.result()
    except (ItemError, RetryableError) as error:
        return error
