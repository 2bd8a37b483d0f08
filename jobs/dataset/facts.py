"""Facts about a local audio file before dispatch: size, modification time, content hash, duration."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Generic, TypeVar

from asr_batch.manifests.location import is_remote

if TYPE_CHECKING:
    from asr_batch.pipeline.audio.reader import AudioInfo

Probe = Callable[[Path], "AudioInfo"]
T = TypeVar("T")

PATIENCE = 120.0
"""Seconds that examining a file may take, in addition to the time to read it."""

_SLOWEST = 5e6  # bytes per second
_MOST_STUCK = 64  # hung threads, beyond which no file is examined


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
    from asr_batch.pipeline.audio import reader as audio  # with decoders, for files that are new

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


class Looks(Generic[T]):
    """Calls `look` with locations on a few threads, each with a time limit.

    A hung call (a mount without its server, a decoder in an endless loop) keeps its thread, which is
    replaced; the threads end with the process. Call `give_up` regularly, or `result`.
    """

    def __init__(self, look: Callable[[str], T], threads: int = 4, patience: float | None = None) -> None:
        self._look, self._patience = look, PATIENCE if patience is None else patience
        self._queue: SimpleQueue[tuple[Future[T], str] | None] = SimpleQueue()
        self._busy: dict[Thread, tuple[float, Future[T]]] = {}
        self._wanted, self._alive, self._stuck = threads, 0, 0

    def submit(self, location: str) -> Future[T]:
        """Examine a file; the result raises TimeoutError after the time limit."""
        future: Future[T] = Future()
        self._queue.put((future, location))
        if self._alive < self._wanted:
            self._start()
        return future

    def give_up(self) -> None:
        """Cancel calls that exceed the time limit."""
        now = time.monotonic()
        late = [(thread, future) for thread, (until, future) in list(self._busy.items()) if now > until]
        for thread, future in late:
            with suppress(KeyError):  # it has just returned
                del self._busy[thread]
                _settle(future, TimeoutError("the file could not be examined in time"))
                self._alive -= 1
                self._stuck += 1
                self._start()
        if self._stuck >= _MOST_STUCK:
            for future in self._drained():
                _settle(future, TimeoutError("too many earlier files could not be examined in time"))

    def result(self, future: Future[T]) -> T:
        """Wait for the result of a call. Raises its exception, and TimeoutError."""
        while not future.done():
            wait([future], timeout=1.0)
            self.give_up()
        return future.result()

    def close(self) -> None:
        """Start no further calls."""
        for future in self._drained():
            future.cancel()
        for _ in range(self._alive):
            self._queue.put(None)

    def _start(self) -> None:
        if self._stuck < _MOST_STUCK:
            self._alive += 1
            Thread(target=self._work, name="looks", daemon=True).start()

    def _work(self) -> None:
        thread = current_thread()
        while (task := self._queue.get()) is not None:
            future, location = task
            if not future.set_running_or_notify_cancel():
                continue
            until = time.monotonic() + self._patience
            self._busy[thread] = (until, future)
            try:
                more = _reading_time(location)  # if the mount is gone, this hangs too
                self._busy[thread] = (until + more, future)
                _settle(future, self._look(location))
            except Exception as error:  # noqa: BLE001 - whoever asked for the result meets it
                _settle(future, error)
            if self._busy.pop(thread, None) is None:
                return  # timed out, and replaced

    def _drained(self) -> Iterator[Future[T]]:
        while True:
            try:
                task = self._queue.get_nowait()
            except Empty:
                return
            if task is not None:
                yield task[0]


def _reading_time(location: str) -> float:
    """Seconds that a slow disk takes to read the whole file."""
    found = stat_file(location)
    return found.st_size / _SLOWEST if found else 0.0


def _settle(future: Future[T], result: T | Exception) -> None:
    """Set the result, unless another thread was faster."""
    with suppress(InvalidStateError):
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
