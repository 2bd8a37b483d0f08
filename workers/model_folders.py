"""Model folders on a node: found by content, else received once, whole and verified.

A folder's name in the cache is the hash of its tree. It is written under another name and renamed when
every byte is there and the hash is right, so a folder that can be seen can be used.
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
    """Where this machine keeps models that it was sent."""
    return Path.home() / ".cache" / "asr-batch" / "received"


def files(folder: Path) -> list[tuple[str, Path]]:
    """Relative names and paths of a model's files, sorted; hidden ones and locks are no part of it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    named = [(path.relative_to(folder).as_posix(), path) for path in found]
    return sorted((name, path) for name, path in named if not any(p[0] == "." for p in name.split("/")))


def tree_hash(folder: Path) -> str:
    """SHA-256 over names and contents of a model's files. Raises OSError."""
    digest = hashlib.sha256()
    for name, path in files(folder):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{content}  {name}\n".encode())
    return digest.hexdigest()


def find(path: str, tree: str) -> str | None:
    """The folder on this machine that holds the model: the driver's own path, or the cache."""
    cached = cache_folder() / tree
    if cached.is_dir():
        return str(cached)
    try:
        return path if Path(path).is_dir() and tree_hash(Path(path)) == tree else None
    except OSError:
        return None


class Incoming:
    """A model on its way into the cache. Raises RetryableError with a sentence when it cannot be kept."""

    def __init__(self, tree: str, size: int, cache: Path | None = None) -> None:
        self._cache = cache or cache_folder()
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
            raise RetryableError(f"{self._cache}: the model cannot be kept here: {error}") from error

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Append to one file of the model."""
        target = self._folder / name
        if not target.resolve().is_relative_to(self._folder.resolve()):
            raise RetryableError(f"{name}: no name of a model's file")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("ab") as file:
                file.write(data)
        except OSError as error:
            self.drop()
            raise RetryableError(f"{self._cache}: the model cannot be kept here: {error}") from error

    def finish(self) -> str:
        """Verify and put in place; returns the folder."""
        final = self._cache / self._tree
        if tree_hash(self._folder) != self._tree:
            self.drop()
            raise RetryableError(f"{self._cache}: the model arrived damaged")
        for _, path in files(self._folder):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        try:
            self._folder.rename(final)
        except OSError:  # another worker of this machine was faster
            self.drop()
            if not final.is_dir():
                raise
        return str(final)

    def drop(self) -> None:
        """Remove what has come so far."""
        shutil.rmtree(self._folder, ignore_errors=True)


def chunks(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A model's files in pieces of at most `CHUNK` bytes: (relative name, bytes)."""
    for name, path in files(folder):
        with path.open("rb") as file:
            first = file.read(CHUNK)
            yield name, first  # also of an empty file
            while first and (block := file.read(CHUNK)):
                yield name, block
