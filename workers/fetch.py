"""Fetches remote audio (`http(s)://`, `s3://`) to bounded temporary files, in the background.

HTTP uses urllib3 (retries with back-off, redirects, proxies), S3 uses pyarrow. An interrupted download
continues with a range request if the server allows it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from asr_batch.manifests import environment
from asr_batch.manifests.errors import ItemError, RetryableError
from asr_batch.manifests.location import is_remote
from asr_batch.manifests.records import Unit

ATTEMPTS = 3
"""Attempts of a unit after which a failed fetch fails the row."""

BLOCK = 1 << 18
SPACE_EVERY = 8 << 20
"""Bytes between two checks of the free space."""

PREFIX = "asr-batch-fetch-"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of one download: seconds, bytes, and bytes per second below which a server counts as stuck."""

    connect: float = 10.0
    read: float = 30.0
    total: float = 3600.0
    file_bytes: int = 4 << 30
    keep_free: int = 256 << 20
    resumes: int = 4
    least_rate: float = 500.0
    grace: float = 30.0


class Fetcher:
    """Audio of units for one worker; a file that several spans need is fetched once.

    Temporary files are in a separate folder and are deleted with the last unit that uses them.
    """

    def __init__(self, limits: FetchLimits | None = None, threads: int = 2) -> None:
        self._limits = limits or FetchLimits()
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._folder: Path | None = None
        self._files: dict[str, tuple[Future[Path], set[tuple[str, int]]]] = {}
        self._stop = threading.Event()
        self._count = 0

    def source(self, unit: Unit) -> Path | bytes | Future[Path]:
        """The unit's audio: its payload, its local path, or a future path (ItemError, RetryableError)."""
        if unit.payload is not None:
            return unit.payload
        location = unit.item.location
        if not is_remote(location):
            return Path(location)
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
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="fetch")
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
            target.unlink(missing_ok=True)
            if unit.attempt < ATTEMPTS:
                raise
            raise ItemError("fetch_failed", str(error)) from error
        except ItemError:
            target.unlink(missing_ok=True)
            raise
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


def fetch(location: str, target: Path, limits: FetchLimits, stop: threading.Event | None = None) -> None:
    """Fetch `location` to the file `target`.

    Raises ItemError("fetch_failed") if another attempt is pointless (not found, forbidden, too large),
    otherwise RetryableError (server errors, broken connections, a full disk on this node).
    """
    flow = _Flow(location, target, limits, stop or threading.Event())
    try:
        if location[:5].lower() == "s3://":
            _fetch_s3(flow)
        else:
            _fetch_http(flow)
    except OSError as error:
        raise RetryableError(f"{safe(location)}: could not be fetched: {error}") from error


def safe(location: str) -> str:
    """`location` for messages, without user, password and query."""
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


class _Flow:
    """One download: writes blocks, counts bytes, and stops at the limits."""

    def __init__(self, location: str, target: Path, limits: FetchLimits, stop: threading.Event) -> None:
        self.location, self.target, self.limits, self.stop = location, target, limits, stop
        self.begun = time.monotonic()
        self.written = self.space_for = 0

    def write(self, block: bytes) -> None:
        with self.target.open("ab", buffering=0) as file:
            file.write(block)
        self.written += len(block)
        self.check()

    def restart(self) -> None:
        self.target.write_bytes(b"")
        self.written = 0
        self.space_for = 0

    def check(self) -> None:
        """Raise if the download is too large, too slow, too long, or no longer needed."""
        name, limits, age = safe(self.location), self.limits, time.monotonic() - self.begun
        if self.written > limits.file_bytes:
            raise ItemError("fetch_failed", f"{name}: larger than the limit of {limits.file_bytes} bytes")
        if age > limits.total or (age > limits.grace and self.written < limits.least_rate * age):
            raise RetryableError(f"{name}: only {self.written} bytes received in {age:.0f} s, aborted")
        if self.written >= self.space_for:
            self.space_for = self.written + SPACE_EVERY
            if shutil.disk_usage(self.target.parent).free < limits.keep_free:
                raise RetryableError(f"{name}: no space left in {self.target.parent} on this node")
        if self.stop.is_set():
            raise RetryableError(f"{name}: the worker is closing")


_http = urllib3.PoolManager(
    retries=urllib3.Retry(
        total=4,
        redirect=5,
        backoff_factor=0.3,
        backoff_max=10,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
    ),
)


def _fetch_http(flow: _Flow) -> None:
    """Read the body in blocks; a broken connection continues where it stopped."""
    etag, stalled, total = None, 0, None
    flow.restart()
    while True:
        before = flow.written
        try:
            etag, total = _http_once(flow, etag)
            if total is None or flow.written >= total:
                return
        except urllib3.exceptions.MaxRetryError as error:
            raise RetryableError(f"{safe(flow.location)}: could not be fetched: {error.reason}") from error
        except urllib3.exceptions.HTTPError as error:
            last: object = error
        else:
            last = f"only {flow.written} of {total} bytes received"
        stalled = stalled + 1 if flow.written == before else 0
        if stalled >= flow.limits.resumes:
            raise RetryableError(f"{safe(flow.location)}: could not be fetched: {last}")
        flow.check()


def _http_once(flow: _Flow, etag: str | None) -> tuple[str | None, int | None]:
    """One request; returns the entity tag, and the full length if known."""
    headers = {"User-Agent": "asr-batch", "Accept-Encoding": "identity"}
    if flow.written:
        headers["Range"] = f"bytes={flow.written}-"
        headers |= {"If-Range": etag} if etag and not etag.startswith("W/") else {}
    timeout = urllib3.Timeout(connect=flow.limits.connect, read=flow.limits.read)
    reply = _http.request("GET", flow.location, headers=headers, timeout=timeout, preload_content=False)
    try:
        _accept(flow, reply)
        length = reply.headers.get("Content-Length")
        total = flow.written + int(length) if length and length.isdigit() else None
        while block := reply.read1(BLOCK):  # in small reads, so that a slow server is noticed
            flow.write(block)
    finally:
        reply.close()
    return reply.headers.get("ETag") or etag, total


def _accept(flow: _Flow, reply: urllib3.BaseHTTPResponse) -> None:
    name = safe(flow.location)
    if reply.status == 416 and flow.written:
        flow.restart()
        raise urllib3.exceptions.HTTPError("the server refuses the range; starting again")
    if reply.status in (408, 425, 429) or reply.status >= 500:
        raise RetryableError(f"{name}: the server answers {reply.status} {reply.reason or ''}".rstrip())
    if reply.status not in (200, 206):
        raise ItemError(
            "fetch_failed", f"{name}: the server answers {reply.status} {reply.reason or ''}".rstrip()
        )
    part = reply.headers.get("Content-Range", "")
    if reply.status == 200 or (reply.status == 206 and not part.startswith(f"bytes {flow.written}-")):
        flow.restart()  # the whole file, or a different part than requested


def _s3(bucket: str) -> Any:
    """A file system for `bucket`; Arrow finds credentials and region where the AWS tools store them."""
    from pyarrow import fs

    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
    s3_endpoint, endpoint, *regions = map(environment.read, names)
    override = s3_endpoint or endpoint
    region = None if override or any(regions) else fs.resolve_s3_region(bucket)
    limits = {"connect_timeout": 10, "request_timeout": 30}
    return fs.S3FileSystem(region=region, endpoint_override=override, **limits)


def _fetch_s3(flow: _Flow) -> None:
    """Read one object; credentials and endpoint come from where the AWS tools store them."""
    import pyarrow as pa

    flow.restart()
    bucket, _, key = flow.location[5:].partition("/")
    try:
        with _s3(bucket).open_input_stream(f"{bucket}/{key}") as stream:
            while block := stream.read(BLOCK):
                flow.write(block)
    except FileNotFoundError as error:
        raise ItemError("fetch_failed", f"{flow.location}: no such object") from error
    except PermissionError as error:
        raise ItemError("fetch_failed", f"{flow.location}: access is denied") from error
    except pa.ArrowException as error:
        raise ItemError("fetch_failed", f"{flow.location}: {error}") from error
