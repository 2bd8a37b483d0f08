"""The dry run of `plan`: checks every file, transcribes nothing."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_batch.jobs.config.fingerprint import Settings
from asr_batch.jobs.dataset.facts import Looks, hash_file, probe, stat_file
from asr_batch.jobs.dataset.index import Index
from asr_batch.jobs.dataset.job_file import Job
from asr_batch.jobs.dataset.parts import part_names
from asr_batch.jobs.dataset.summary import find_summary
from asr_batch.jobs.run.driver.feed import Resume
from asr_batch.manifests.columns import misspelt
from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.location import is_remote, printable
from asr_batch.manifests.reader import Manifest
from asr_batch.manifests.records import AudioItem

KEPT = 200
ASSUMED_RTFX = 10.0
"""Assumed speed until a run has measured one."""


@dataclass(frozen=True, slots=True)
class Look:
    """The result of probing: seconds, or an error; `file` is equal for identical files."""

    seconds: float = 0.0
    error: str = ""
    message: str = ""
    file: tuple[int, int, int] | None = None


@dataclass(slots=True)
class Plan:
    """The result, with the first 200 rows of each kind."""

    rows: int = 0
    done: int = 0
    remote: int = 0
    unreadable: int = 0
    duplicates: int = 0
    seconds: float = 0.0
    seconds_left: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    misspelt: dict[str, str] = field(default_factory=dict)
    unreadable_rows: list[dict[str, Any]] = field(default_factory=list)
    duplicate_rows: list[dict[str, Any]] = field(default_factory=list)
    rtfx: float = ASSUMED_RTFX
    rtfx_known: bool = False

    @property
    def wall_seconds(self) -> float:
        """Expected wall time of the rows left."""
        return self.seconds_left / self.rtfx if self.rtfx > 0 else 0.0


class Planner:
    """Probes the rows of a manifest on several threads, a bounded number of rows ahead."""

    ahead = 512
    threads = 4

    def __init__(self, resume: Resume | None = None) -> None:
        self.plan = Plan()
        self._resume = resume
        self._probes = Looks(_probe, self.threads)
        self._looks: OrderedDict[tuple[int, int, int], Look] = OrderedDict()
        self._sizes: dict[int, tuple[str, tuple[int, int, int]]] = {}
        self._digests: dict[tuple[int, int, int], str] = {}
        self._work: set[int] = set()

    def run(self, manifest: Manifest) -> Plan:
        """Plan all rows. Raises ManifestError."""
        for _ in manifest.check():
            pass
        self.plan.misspelt = misspelt(manifest.columns)
        for item, look in self._looked(manifest.rows()):
            self._count(item, look)
        self._probes.close()
        return self.plan

    def _looked(self, items: Iterator[AudioItem]) -> Iterator[tuple[AudioItem, Look]]:
        waiting: deque[tuple[AudioItem, Future[Look] | Look]] = deque()
        for item in items:
            waiting.append((item, self._look(item)))
            while len(waiting) >= self.ahead:
                yield self._with_look(*waiting.popleft())
        while waiting:
            yield self._with_look(*waiting.popleft())

    def _look(self, item: AudioItem) -> Future[Look] | Look:
        """Probe a file on a thread, unless another row has the same file."""
        if is_remote(item.location):
            return Look(error="remote")
        found = stat_file(item.location)
        if found is None:
            gone = not os.path.lexists(item.location)
            return _missing(item.location) if gone else self._probes.submit(item.location)
        known = self._looks.get(_identity(found))
        return known or self._probes.submit(item.location)

    def _with_look(self, item: AudioItem, look: Future[Look] | Look) -> tuple[AudioItem, Look]:
        if isinstance(look, Future):
            look = self._found(look)
            if look.file is not None:
                self._looks[look.file] = look
                if len(self._looks) > 4096:
                    self._looks.popitem(last=False)
        return item, look

    def _found(self, future: Future[Look]) -> Look:
        try:
            return self._probes.result(future)
        except TimeoutError as error:
            return Look(error="timeout", message=str(error))
        except Exception as error:  # noqa: BLE001 - a dry run continues whatever a file does to a decoder
            return Look(error="unreadable", message=repr(error))

    def _count(self, item: AudioItem, look: Look) -> None:
        plan = self.plan
        plan.rows += 1
        if look.error == "remote":
            plan.remote += 1
        elif look.error:
            self._unreadable(item, look)
        seconds = max(0.0, (look.seconds if item.end is None else item.end) - (item.start or 0.0))
        plan.seconds += seconds
        if self._is_done(item):
            plan.done += 1
        elif not look.error and not self._is_duplicate(item, look):
            plan.seconds_left += seconds

    def _unreadable(self, item: AudioItem, look: Look) -> None:
        plan = self.plan
        plan.unreadable += 1
        plan.errors[look.error] = plan.errors.get(look.error, 0) + 1
        if len(plan.unreadable_rows) < KEPT:
            plan.unreadable_rows.append(
                {
                    "line": item.line,
                    "id": item.id,
                    "audio": item.audio,
                    "error": look.error,
                    "message": look.message,
                }
            )

    def _is_done(self, item: AudioItem) -> bool:
        if self._resume is None:
            return False
        position = self._resume.entry(item)
        if position is None:
            return False
        same = self._resume.unchanged(position, item)
        return self._resume.same_audio(position, hash_file(item.location)) if same is None else same

    def _is_duplicate(self, item: AudioItem, look: Look) -> bool:
        """Whether an earlier row has the same content and the same settings."""
        content = self._content(item, look)
        own = (item.start, item.end, item.channel, item.language, item.task, item.prompt, item.track)
        key = hash((content, own))
        if key not in self._work:
            self._work.add(key)
            return False
        self.plan.duplicates += 1
        if len(self.plan.duplicate_rows) < KEPT:
            self.plan.duplicate_rows.append({"line": item.line, "id": item.id, "audio": item.audio})
        return True

    def _content(self, item: AudioItem, look: Look) -> object:
        """A key that is equal for equal contents; only files of equal size are hashed."""
        found = stat_file(item.location)
        if found is None or look.file is None:
            return item.location
        size = found.st_size
        first = self._sizes.setdefault(size, (item.location, look.file))
        if first[1] == look.file:
            return size
        if self._digest(*first) == self._digest(item.location, look.file):
            return size
        return self._digest(item.location, look.file)

    def _digest(self, location: str, file: tuple[int, int, int]) -> str:
        known = self._digests.get(file)
        if known is None:
            known = self._digests[file] = hash_file(location)
        return known


def _missing(location: str) -> Look:
    name = printable(os.path.basename(location))  # noqa: PTH119 - names that are not UTF-8
    return Look(error="not_found", message=f"{name} does not exist; check the path in the manifest")


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _probe(location: str) -> Look:
    found = stat_file(location)
    file = None if found is None else _identity(found)
    try:
        return Look(seconds=probe(Path(location)).duration, file=file)
    except ItemError as error:
        return Look(error=error.code, message=error.message, file=file)
    except Exception as error:  # noqa: BLE001 - a dry run continues whatever a file does to a decoder
        return Look(error="unreadable", message=repr(error), file=file)


def resume_of(root: Path, job: Job) -> Resume:
    """Which rows of a data set count as done, with its own model and settings."""
    index = Index.load(root, part_names(root))
    return Resume(index, job.model.sha256, Settings(job.settings))


def known_speed(root: Path) -> float | None:
    """The real-time factor of the last run of a data set, if it transcribed anything."""
    summary = find_summary(root)
    return (summary.run.rtfx or summary.rtfx or None) if summary else None
