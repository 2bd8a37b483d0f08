"""Fetches remote audio (`http(s)://`, `s3://`) to temporary files, in the background."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from asr_batch.manifests.download import DownloadError, Limits, Request, download, part_of, safe
from asr_batch.manifests.errors import ItemError, RetryableError
from asr_batch.manifests.records import Unit

ATTEMPTS = 3
"""Attempts of a unit after which a failed fetch fails the row."""

PREFIX = "asr-batch-fetch-"


THREADS = 2
"""Downloads of one worker at a time."""


class Fetcher:
    """Audio of units for one worker; a file that several spans need is fetched once.

    Temporary files are in a separate folder and are deleted with the last unit that uses them.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._pool: ThreadPoolExecutor | None = None
        self._folder: Path | None = None
        self._files: dict[str, tuple[Future[Path], set[tuple[str, int]]]] = {}
        self._stop = threading.Event()
        self._count = 0

    def source(self, unit: Unit) -> Future[Path]:
        """The path of the unit's remote audio; the future may raise ItemError and RetryableError."""
        location = unit.item.location
        if location not in self._files or _gone_wrong(self._files[location][0]):
            self._files[location] = (self._start(unit), set())
        future, users = self._files[location]
        users.add(unit.key)
        return future

    def _start(self, unit: Unit) -> Future[Path]:
        if self._folder is None:
            _sweep()
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = _locked(self._folder)
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")
        assert self._pool is not None
        self._count += 1
        # For some files only the extension determines the codec.
        ending = os.path.splitext(urlsplit(unit.item.location).path)[1]  # noqa: PTH122 - a URL
        ending = ending if ending[1:].isalnum() and len(ending) < 12 else ""
        return self._pool.submit(self._fetch, unit, self._folder / f"{self._count}{ending}")

    def _fetch(self, unit: Unit, target: Path) -> Path:
        try:
            fetch(unit.item.location, target, self._limits, self._stop)
        except RetryableError as error:
            if unit.attempt < ATTEMPTS:
                raise
            raise ItemError("fetch_failed", str(error)) from error
        finally:
            part_of(target).unlink(missing_ok=True)
        return target

    def release(self, unit: Unit) -> None:
        """Release the unit's file, which is deleted if no other unit needs it."""
        entry = self._files.get(unit.item.location)
        if entry is None:
            return
        future, users = entry
        users.discard(unit.key)
        if not users:
            del self._files[unit.item.location]
            future.add_done_callback(_remove)

    def close(self) -> None:
        """End downloads and remove the temporary folder."""
        self._stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


def _locked(folder: Path) -> int:
    """Lock the folder for the lifetime of this process. Raises OSError if another process holds the lock."""
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _sweep() -> None:
    """Remove the folders of killed workers: those of this user without a lock."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == os.getuid() and time.time() - folder.stat().st_mtime > 10:
                lock = _locked(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _gone_wrong(future: Future[Path]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)


def _remove(future: Future[Path]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().unlink(missing_ok=True)


def fetch(location: str, target: Path, limits: Limits, stop: threading.Event | None = None) -> None:
    """Fetch `location` to the file `target`.

    Raises ItemError("fetch_failed") if another attempt is pointless (not found, forbidden, too large),
    otherwise RetryableError (server errors, broken connections, a full disk on this node).
    """
    try:
        download(Request(location), target, limits, stop)
    except DownloadError as error:
        raise (
            RetryableError(str(error)) if error.passing else ItemError("fetch_failed", str(error))
        ) from error
    except OSError as error:
        raise RetryableError(f"{safe(location)}: could not be fetched: {error}") from error
