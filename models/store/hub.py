"""Downloads from a model hub with huggingface_hub: listing, resuming, hash check, error messages.

huggingface_hub reads its own settings (`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`). The file helpers of
its 2.x series delete a partial file when the process ends, so the bytes come through our own downloader,
which the next `pull` continues. A login is not sent on if the hub redirects to another host.
"""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.download import DownloadError, Limits, Request, WrongBytesError, download
from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import safe_name
from asr_batch.models.store.errors import HubUnreachableError, hub_errors
from asr_batch.models.store.record import sha256_of

LIMITS = Limits(read=60.0, total=math.inf, file_bytes=sys.maxsize, keep_free=0)
"""A model may be large and a line slow; `check_room` has looked at the disk."""


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
        from huggingface_hub import HfApi  # slow to import, for runs that pull

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
    target.parent.mkdir(parents=True, exist_ok=True)
    with hub_errors(model.repository, model.revision):
        _download(model, file, target)
    return target


def _download(model: HubModel, file: HubFile, target: Path) -> None:
    from huggingface_hub import get_token, hf_hub_url  # slow to import, for runs that pull

    url = hf_hub_url(model.repository, file.name, revision=model.revision)
    headers = {"Authorization": f"Bearer {token}"} if (token := get_token()) else {}
    place = f"{model.repository}: {file.name}"
    try:
        download(Request(url, headers, lambda part: _mismatch(part, file)), target, LIMITS)
    except WrongBytesError as error:
        raise ModelError(f"{place}: {error.problem}; the file was deleted, pull again") from error
    except DownloadError as error:
        raise HubUnreachableError(f"{place}: the hub did not give it: {error}") from error


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
