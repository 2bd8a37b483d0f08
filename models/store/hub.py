"""Downloading from a model hub through huggingface_hub: listing, resume, hash check, errors in words.

huggingface_hub reads its own settings (`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`). The whole-file helpers
of its 2.x series throw a partial file away when the process ends, so the bytes go through its `http_get`
into a `.part` file of ours, which the next `pull` continues.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import safe_name
from asr_batch.models.store.errors import HubUnreachableError, hub_errors
from asr_batch.models.store.record import sha256_of


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository as the hub announces it.

    `size` in bytes (None: not told); `sha256` for large files, `git` (SHA-1 of a git blob) for small ones.
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

    Raises ModelError when the hub cannot be reached or does not know the repository or the revision.
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
    """Download one file into `staging`, continuing a partial one; a complete one is not asked for again.

    Raises ModelError when the connection ends, the disk is full, or the bytes are not those announced
    (the file is then deleted).
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
        raise ModelError(f"{model.repository}: {file.name}: {problem}; the file was thrown away, pull again")
    part.replace(target)
    return target


def _download_stubbornly(model: HubModel, file: HubFile, part: Path) -> None:
    """Go on after broken connections as long as each try brings something (one may bring nothing).

    Newer versions of huggingface_hub also try again themselves, older ones do not.
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
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    have = _size(part)
    if file.size is not None and have > file.size:
        part.unlink()
        have = 0
    with part.open("ab") as stream:
        http_get(
            hf_hub_url(model.repository, file.name, revision=model.revision),
            stream,
            resume_size=have,
            headers=build_hf_headers(),
            expected_size=file.size,
            displayed_filename=file.name,
        )


def _mismatch(path: Path, file: HubFile) -> str | None:
    """What is wrong with the bytes of a downloaded file, or None."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes arrived, {file.size} were announced"
    if file.sha256 and (found := sha256_of(path)) != file.sha256:
        return f"wrong hash: sha256 {found[:12]}… arrived, {file.sha256[:12]}… was announced"
    if file.git and len(file.git) == 40 and (found := _git_blob(path)) != file.git:
        return f"wrong hash: git blob {found[:12]}… arrived, {file.git[:12]}… was announced"
    return None


def _git_blob(path: Path) -> str:
    """SHA-1 of a file as a git blob, by which the hub names small files (an identity, not a protection)."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
