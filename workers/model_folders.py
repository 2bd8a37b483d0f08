"""Model folders on a node: found by content, or received once and verified.

A folder in the cache is named by the hash of its tree. It is written under a temporary name and renamed
once it is complete and the hash is correct, so a visible folder is always usable.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from asr_batch.manifests.errors import RetryableError

CHUNK = 16 << 20


def cache_folder() -> Path:
    """Folder of the models that this machine has received."""
    return Path("~/.cache/asr-batch/received").expanduser()  # beside the store, `models.store.names`


def files(folder: Path) -> list[tuple[str, Path]]:
    """Relative names and paths of a model's files, sorted; hidden files and locks are excluded."""
    found = (path for path in folder.rglob("*") if path.is_file())
    named = [(path.relative_to(folder).as_posix(), path) for path in found]
    return sorted((name, path) for name, path in named if not any(p[0] == "." for p in name.split("/")))


def tree_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of a model's files. Raises OSError."""
    digest = hashlib.sha256()
    for name, path in files(folder):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{content}  {name}\n".encode())
    return digest.hexdigest()


def find(path: str, tree: str) -> str | None:
    """The folder on this machine that has the model: the driver's own path, or the cache."""
    cached = cache_folder() / tree
    if cached.is_dir():
        return str(cached)
    try:
        return path if Path(path).is_dir() and tree_hash(Path(path)) == tree else None
    except OSError:
        return None


class Incoming:
    """A model being received into the cache. Raises RetryableError if it cannot be stored."""

    def __init__(self, tree: str, size: int) -> None:
        self._cache = cache_folder()
        self._tree = tree
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._cache).free
            if free < size + (64 << 20):
                raise RetryableError(
                    f"{self._cache}: {free >> 20} MiB of disk free, the model needs {(size >> 20) + 64} MiB"
                )
            self._folder = Path(tempfile.mkdtemp(prefix=f".{tree[:12]}-", dir=self._cache))
        except OSError as error:
            raise RetryableError(f"{self._cache}: the model cannot be stored: {error}") from error

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Append to one file of the model."""
        target = self._folder / name
        if not target.resolve().is_relative_to(self._folder.resolve()):
            raise RetryableError(f"{name}: not a file name of a model")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("ab") as file:
                file.write(data)
        except OSError as error:
            self.drop()
            raise RetryableError(f"{self._cache}: the model cannot be stored: {error}") from error

    def finish(self) -> str:
        """Verify the model and move it into place; returns the folder."""
        final = self._cache / self._tree
        if tree_hash(self._folder) != self._tree:
            self.drop()
            raise RetryableError(f"{self._cache}: the model arrived damaged")
        for _, path in files(self._folder):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        try:
            self._folder.rename(final)
        except OSError:  # another worker on this machine was faster
            self.drop()
            if not final.is_dir():
                raise
        return str(final)

    def drop(self) -> None:
        """Delete what was received."""
        shutil.rmtree(self._folder, ignore_errors=True)


def chunks(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A model's files in pieces of at most `CHUNK` bytes: (relative name, bytes)."""
    for name, path in files(folder):
        with path.open("rb") as file:
            first = file.read(CHUNK)
            yield name, first  # also for an empty file
            while first and (block := file.read(CHUNK)):
                yield name, block
