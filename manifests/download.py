"""Downloads one file from `http(s)://` or `s3://`: complete, checked and renamed, or not at all.

HTTP uses urllib3: proxies of the environment, redirects, retries with back-off, and range requests that
resume an interrupted download, within a call and across processes. S3 uses pyarrow, which finds
credentials where the AWS tools store them.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from asr_batch.manifests import environment
from asr_batch.manifests.errors import AsrBatchError
from asr_batch.manifests.location import scheme_of

BLOCK = 1 << 18
SPACE_EVERY = 8 << 20
"""Bytes between two checks of the free space."""


class DownloadError(AsrBatchError):
    """A failed download; `passing`: another attempt may succeed."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


class WrongBytesError(DownloadError):
    """The received bytes are not the expected ones; `problem` is the difference."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}", passing=True)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one download: seconds, bytes, and bytes per second below which a server counts as stuck.

    `resumes`: consecutive interruptions without progress; `grace`: seconds before the rate of a server is
    judged.
    """

    connect: float = 10.0
    read: float = 30.0
    total: float = 3600.0
    file_bytes: int = 4 << 30
    keep_free: int = 256 << 20
    resumes: int = 4
    least_rate: float = 500.0
    grace: float = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to download; `headers` are sent (HTTP); `check` returns a problem of the bytes, or None."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Path], str | None] = lambda _: None


def download(
    request: Request, target: Path, limits: Limits | None = None, stop: threading.Event | None = None
) -> None:
    """Download to `target` through `target.part`, which a later call continues after an interruption.

    Raises DownloadError (WrongBytesError if `check` finds a problem, after deleting the file), and OSError
    if the disk fails.
    """
    part = part_of(target)
    flow = _Flow(request, part, limits or Limits(), stop or threading.Event())
    if scheme_of(request.url) == "s3":
        _from_s3(flow)
    else:
        _from_http(flow)
    problem = request.check(part)
    if problem:
        part.unlink()
        raise WrongBytesError(flow.name, problem)
    part.replace(target)


def part_of(target: Path) -> Path:
    """The partial file of `target`."""
    return target.with_name(target.name + ".part")


def safe(url: str) -> str:
    """`url` for messages, without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


class _Flow:
    """One download: appends blocks to the part file, counts bytes, and stops at the limits."""

    def __init__(self, request: Request, part: Path, limits: Limits, stop: threading.Event) -> None:
        self.request, self.part, self.limits, self.stop = request, part, limits, stop
        self.name = safe(request.url)
        self.begun = time.monotonic()
        self.space_for = 0
        part.touch()
        self.had = self.written = part.stat().st_size

    def write(self, block: bytes) -> None:
        with self.part.open("ab", buffering=0) as file:
            file.write(block)
        self.written += len(block)
        self.check()

    def restart(self) -> None:
        self.part.write_bytes(b"")
        self.had = self.written = self.space_for = 0

    def check(self) -> None:
        """Raise if the download is too large, too slow, too long, or no longer needed."""
        limits, age = self.limits, time.monotonic() - self.begun
        came = self.written - self.had
        if self.written > limits.file_bytes:
            raise self.error(f"larger than the limit of {limits.file_bytes} bytes", passing=False)
        if age > limits.total or (age > limits.grace and came < limits.least_rate * age):
            raise self.error(f"only {came} bytes received in {age:.0f} s, aborted")
        if self.written >= self.space_for:
            self.space_for = self.written + SPACE_EVERY
            if shutil.disk_usage(self.part.parent).free < limits.keep_free:
                raise self.error(f"no space left in {self.part.parent} on this node")
        if self.stop.is_set():
            raise self.error("the worker is closing")

    def error(self, what: object, *, passing: bool = True) -> DownloadError:
        return DownloadError(f"{self.name}: {what}", passing=passing)


RETRIES = urllib3.Retry(
    total=4,
    redirect=5,
    backoff_factor=0.3,
    backoff_max=10,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=("GET",),
    raise_on_status=False,
)


def _client(url: str) -> urllib3.PoolManager:
    """A connection pool, through the proxy of the environment for this URL, if any."""
    parts = urlsplit(url)
    return _clients(None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme))


@lru_cache(maxsize=8)
def _clients(proxy: str | None) -> urllib3.PoolManager:
    return urllib3.ProxyManager(proxy, retries=RETRIES) if proxy else urllib3.PoolManager(retries=RETRIES)


def _from_http(flow: _Flow) -> None:
    """Read the body in blocks; a broken connection continues where it stopped."""
    etag, stalled, total = None, 0, None
    while True:
        before = flow.written
        try:
            etag, total = _http_once(flow, etag)
            if total is None or flow.written >= total:
                return
        except urllib3.exceptions.MaxRetryError as error:
            raise flow.error(f"could not be fetched: {_reason(error.reason)}") from error
        except urllib3.exceptions.HTTPError as error:
            last = _reason(error)
        else:
            last = f"only {flow.written} of {total} bytes received"
        stalled = stalled + 1 if flow.written <= before else 0
        if stalled >= flow.limits.resumes:
            raise flow.error(f"could not be fetched: {last}")
        flow.check()


def _reason(error: Exception | None) -> str:
    """What urllib3 says, without its objects and numbers: "Connection refused"."""
    said = str(error.args[-1]) if error is not None and error.args else str(error)
    return re.sub(r"^HTTPS?Connection(Pool)?\(.*?\): |\[Errno -?\d+\] ", "", said)


def _http_once(flow: _Flow, etag: str | None) -> tuple[str | None, int | None]:
    """One request; returns the entity tag, and the full length if known."""
    headers = {"User-Agent": "asr-batch", "Accept-Encoding": "identity", **flow.request.headers}
    if flow.written:
        headers["Range"] = f"bytes={flow.written}-"
        headers |= {"If-Range": etag} if etag and not etag.startswith("W/") else {}
    timeout = urllib3.Timeout(connect=flow.limits.connect, read=flow.limits.read)
    url = flow.request.url
    reply = _client(url).request("GET", url, headers=headers, timeout=timeout, preload_content=False)
    try:
        if _complete(flow, reply):
            return etag, flow.written
        _accept(flow, reply)
        length = reply.headers.get("Content-Length")
        total = flow.written + int(length) if length and length.isdigit() else None
        while block := reply.read1(BLOCK):  # in small reads, so that a slow server is noticed
            flow.write(block)
    finally:
        reply.close()
    return reply.headers.get("ETag") or etag, total


def _complete(flow: _Flow, reply: urllib3.BaseHTTPResponse) -> bool:
    """Whether the server says that the part file is complete."""
    return reply.status == 416 and reply.headers.get("Content-Range") == f"bytes */{flow.written}"


def _accept(flow: _Flow, reply: urllib3.BaseHTTPResponse) -> None:
    if reply.status == 416 and flow.written:
        flow.restart()
        raise urllib3.exceptions.HTTPError("the server refuses the range; starting again")
    if reply.status not in (200, 206):
        passing = reply.status in (408, 425, 429) or reply.status >= 500
        raise flow.error(f"the server answers {reply.status} {reply.reason or ''}".rstrip(), passing=passing)
    part = reply.headers.get("Content-Range", "")
    if reply.status == 200 or not part.startswith(f"bytes {flow.written}-"):
        flow.restart()  # the whole file, or a different part than requested


def _s3(bucket: str, limits: Limits) -> Any:
    """A file system for `bucket`; Arrow finds credentials and region where the AWS tools store them."""
    from pyarrow import fs  # slow to import, and most audio is not on S3

    endpoint = environment.read("AWS_ENDPOINT_URL_S3") or environment.read("AWS_ENDPOINT_URL")
    placed = endpoint or environment.read("AWS_REGION") or environment.read("AWS_DEFAULT_REGION")
    region = None if placed else fs.resolve_s3_region(bucket)
    timeouts = {"connect_timeout": limits.connect, "request_timeout": limits.read}
    return fs.S3FileSystem(region=region, endpoint_override=endpoint, **timeouts)


def _from_s3(flow: _Flow) -> None:
    """Read one object from its beginning."""
    import pyarrow as pa  # as above

    flow.restart()
    bucket, _, key = flow.request.url[len("s3://") :].partition("/")
    try:
        with _s3(bucket, flow.limits).open_input_stream(f"{bucket}/{key}") as stream:
            while block := stream.read(BLOCK):
                flow.write(block)
    except FileNotFoundError as error:
        raise flow.error("no such object", passing=False) from error
    except PermissionError as error:
        raise flow.error("access is denied", passing=False) from error
    except OSError as error:
        raise flow.error(f"could not be fetched: {error}") from error
    except pa.ArrowException as error:
        raise flow.error(error, passing=False) from error
