"""Turns the manifest into rows to transcribe: skips finished rows and looks up facts about files.

Reads the manifest once, a bounded number of rows ahead of the driver. A few threads hash and probe files.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from asr_batch.jobs.config.fingerprint import Settings
from asr_batch.jobs.dataset.facts import FileFacts, Looks, look_at, stat_file
from asr_batch.jobs.dataset.index import STATUSES, Index, file_hash, work_hash
from asr_batch.manifests.location import is_remote
from asr_batch.manifests.records import AudioItem

log = logging.getLogger("asr_batch")

Looker = Callable[[str], FileFacts]


@dataclass(frozen=True, slots=True)
class Task:
    """A row to transcribe, with the hash of its settings and the facts about its file."""

    item: AudioItem
    settings_sha256: str
    facts: FileFacts

    @property
    def seconds(self) -> float:
        """Expected seconds of audio, 0.0 if unknown."""
        end = self.item.end if self.item.end is not None else self.facts.seconds
        return max(0.0, end - (self.item.start or 0.0))

    @property
    def work_key(self) -> int | None:
        """Equal for rows with the same audio and settings; None if the content is unknown."""
        sha256 = self.facts.sha256
        return hash((hash(sha256), self.settings_sha256)) if sha256 else None


class Resume:
    """Decides whether a row is done, by id, audio, model and settings."""

    def __init__(
        self, index: Index, model_sha256: str, settings: Settings, redo: Collection[str] = ()
    ) -> None:
        self.index, self.model_sha256, self.settings = index, model_sha256, settings
        self.redo = frozenset(STATUSES.index(status) for status in redo)
        self.only_redo = bool(redo)

    def entry(self, item: AudioItem) -> int | None:
        """Position of this row in the data set under the same model and settings, or None."""
        position = self.index.find(item.id)
        if position is None:
            return None
        entry = self.index.entries[position]
        if int(entry["status"]) in self.redo:
            return None
        same = int(entry["work"]) == work_hash(self.model_sha256, self.settings.sha256(item))
        return position if same or self.only_redo else None

    def skipped(self, item: AudioItem) -> bool:
        """Whether to skip the row: `retry` leaves rows that are not in the data set to `run`."""
        return self.only_redo and self.index.find(item.id) is None

    def unchanged(self, position: int, item: AudioItem) -> bool | None:
        """Whether the row's audio is the same; None if the content has to be hashed.

        The transcript of a file that no longer exists is kept.
        """
        if self.only_redo or is_remote(item.location):
            return True
        entry = self.index.entries[position]
        found = stat_file(item.location)
        if found is None:
            return True
        if int(entry["file"]) == file_hash(found.st_size, found.st_mtime_ns):
            return True
        return None

    def done_key(self, position: int, item: AudioItem) -> int | None:
        """`Task.work_key` of a finished row; None if other rows cannot use its transcript."""
        entry = self.index.entries[position]
        if STATUSES[int(entry["status"])] == "failed" or int(entry["audio"]) == hash(""):
            return None
        return hash((int(entry["audio"]), self.settings.sha256(item)))

    def same_audio(self, position: int, sha256: str) -> bool:
        """Whether the data set's row was made from audio with this hash."""
        return int(self.index.entries[position]["audio"]) == hash(sha256)


class Feed:
    """Iterates over rows to transcribe without blocking the driver.

    `leaders` maps work keys to the first row that has them, done or in progress.
    """

    ahead = 256
    threads = 4

    def __init__(self, items: Iterator[AudioItem], resume: Resume, looker: Looker = look_at) -> None:
        self._items, self._resume = items, resume
        self._looks = Looks(looker, self.threads)
        self._waiting: deque[tuple[AudioItem, int | None, Future[FileFacts]]] = deque()
        self._ended = False
        self.passed = 0
        self.leaders: dict[int, str] = {}
        self.known_seconds = 0.0
        self.known_rows = 0

    @property
    def exhausted(self) -> bool:
        """Whether no further row will come."""
        return self._ended and not self._waiting

    def poll(self, budget: int = 2000) -> Task | None:
        """The next row, or None if its facts are not available yet (or no row is left).

        Skips at most `budget` finished rows, so that the caller can look after its workers.
        """
        self._looks.give_up()
        for _ in range(budget):
            self._read_ahead()
            if not self._waiting or not self._waiting[0][2].done():
                return None
            item, position, future = self._waiting.popleft()
            facts = self._facts(future)
            if position is not None and self._resume.same_audio(position, facts.sha256):
                self._pass_over(item, position)
                continue
            self.known_rows += 1
            task = Task(item, self._resume.settings.sha256(item), facts)
            self.known_seconds += task.seconds
            return task
        return None

    def _read_ahead(self) -> None:
        budget = 2000
        while not self._ended and len(self._waiting) < self.ahead and budget > 0:
            budget -= 1
            item = next(self._items, None)
            if item is None:
                self._ended = True
                return
            self._take(item)

    def _take(self, item: AudioItem) -> None:
        if self._resume.skipped(item):
            return
        position = self._resume.entry(item)
        if position is not None and self._resume.unchanged(position, item):
            self._pass_over(item, position)
            return
        self._waiting.append((item, position, self._looks.submit(item.location)))

    def _pass_over(self, item: AudioItem, position: int) -> None:
        self.passed += 1
        key = self._resume.done_key(position, item)
        if key is not None:
            self.leaders.setdefault(key, item.id)

    def audio_ahead(self, enough: float) -> float:
        """Seconds of audio left to transcribe, counted up to `enough`.

        Infinite if more rows follow than are read ahead.
        """
        total = self.known_seconds
        self._read_ahead()
        for item, _, future in self._waiting:
            if total > enough:
                return total
            total += Task(item, "", self._facts(future)).seconds
        return total if self._ended else math.inf

    def _facts(self, future: Future[FileFacts]) -> FileFacts:
        """The facts of a file; empty after an error, which the worker will then report."""
        try:
            return self._looks.result(future)
        except Exception:
            log.exception("a file could not be examined")
            return FileFacts()

    def wait(self, seconds: float) -> None:
        """Wait for the facts of the next row."""
        if self._waiting:
            try:
                self._waiting[0][2].result(timeout=seconds)
            except Exception:  # noqa: BLE001 - reported when it is the turn of the row
                return

    def close(self) -> None:
        """Stop reading and probing."""
        self._ended = True
        self._waiting.clear()
        self._looks.close()
