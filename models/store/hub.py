"""Downloads from a model hub with huggingface_hub: listing, resuming, hash check, error messages.

huggingface_hub reads its own settings (`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`). The file helpers of
its 2.x series delete a partial file when the process ends, so urllib3 writes to a separate `.part` file,
which the next `pull` continues. A login is not sent on if the hub redirects to another host.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import safe_name
from asr_batch.models.store.errors import HubUnreachableError, hub_errors
from asr_batch.models.store.record import sha256_of

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository as announced by the hub.

    `size` in bytes (None: unknown); `sha256` for large files, `git` (SHA-1 of a git blob) for small ones.
    """

    name: str
    size: int | None
    sha256: str | None
    git: str | None


@dataclass(frozen=True, slots=True)
class HubModel:
    """A repository at one revision: `revision` is the full commit, not a branch."""

    repository: str
    revision: str
    files: tuple[HubFile, ...]


def listing(repository: str, revision: str | None) -> HubModel:
    """Ask the hub for the files of a repository (one call).

    Raises ModelError if the hub cannot be reached, or does not know the repository or revision.
    """
    with hub_errors(repository, revision):
        from huggingface_hub import HfApi

        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    files = tuple(
        HubFile(
            safe_name(entry.rfilename).as_posix(),
            entry.size,
            getattr(entry.lfs, "sha256", None),
            None if entry.lfs else entry.blob_id,
        )
        for entry in info.siblings or ()
    )
    if not info.sha or not files:
        raise ModelError(f"{repository}: the hub lists no files for it; expected a model repository")
    return HubModel(repository, info.sha, files)


def fetch(model: HubModel, file: HubFile, staging: Path) -> Path:
    """Download one file to `staging`, continuing a partial one; a complete one is not requested again.

    Raises ModelError if the connection ends, the disk is full, or the bytes are not those announced (the
    file is then deleted).
    """
    target = staging / safe_name(file.name)
    if target.is_file() and _mismatch(target, file) is None:
        return target
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    _download_stubbornly(model, file, part)
    problem = _mismatch(part, file)
    if problem:
        part.unlink()
        raise ModelError(f"{model.repository}: {file.name}: {problem}; the file was deleted, pull again")
    part.replace(target)
    return target


def _download_stubbornly(model: HubModel, file: HubFile, part: Path) -> None:
    """Continue after broken connections while attempts make progress (one may make none).

    Newer versions of huggingface_hub also retry by themselves, older ones do not.
    """
    patience = 2
    while True:
        have = _size(part)
        try:
            with hub_errors(model.repository, model.revision):
                return _download(model, file, part)
        except HubUnreachableError:
            patience = 2 if _size(part) > have else patience - 1
            if patience == 0:
                raise


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _download(model: HubModel, file: HubFile, part: Path) -> None:
    from huggingface_hub import get_token, hf_hub_url

    have = _size(part)
    if file.size is not None and have > file.size:
        part.unlink()
        have = 0
    url = hf_hub_url(model.repository, file.name, revision=model.revision)
    place = f"{model.repository}: {file.name}"
    headers = {"User-Agent": "asr-batch", "Accept-Encoding": "identity"}
    headers |= {"Authorization": f"Bearer {token}"} if (token := get_token()) else {}
    headers |= {"Range": f"bytes={have}-"} if have else {}
    try:
        reply = _http(url).request("GET", url, headers=headers, preload_content=False)
        with reply, part.open("r+b" if have else "wb") as stream:
            _receive(place, reply, have, stream)
    except urllib3.exceptions.HTTPError as error:
        raise HubUnreachableError(f"{place}: the hub cannot be reached ({error})") from error


def _receive(place: str, reply: urllib3.BaseHTTPResponse, have: int, stream: IO[bytes]) -> None:
    """Write the body after the `have` bytes of the file, or over them if all of it is sent again."""
    if reply.status not in (200, 206):
        raise HubUnreachableError(f"{place}: the hub answered {reply.status} {reply.reason or ''}".rstrip())
    continued = reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    stream.seek(have if reply.status == 206 and continued else 0)
    stream.truncate()
    while block := reply.read(_BLOCK):
        stream.write(block)


def _http(url: str) -> urllib3.PoolManager:
    """A connection pool, through the proxy of the environment for this URL, if any."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    retries = urllib3.Retry(connect=2, read=0, redirect=10, status=0, other=0, backoff_factor=0.5)
    timeout = urllib3.Timeout(connect=10, read=60)
    if proxy:
        return urllib3.ProxyManager(proxy, retries=retries, timeout=timeout)
    return urllib3.PoolManager(retries=retries, timeout=timeout)


def _mismatch(path: Path, file: HubFile) -> str | None:
    """The difference between a downloaded file and its announcement, or None."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes received, {file.size} announced"
    if file.sha256 and (found := sha256_of(path)) != file.sha256:
        return f"wrong hash: sha256 {found[:12]}… received, {file.sha256[:12]}… announced"
    if file.git and len(file.git) == 40 and (found := _git_blob(path)) != file.git:
        return f"wrong hash: git blob {found[:12]}… received, {file.git[:12]}… announced"
    return None


def _git_blob(path: Path) -> str:
    """SHA-1 of a file as a git blob, by which the hub identifies small files (not a protection)."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
