"""Which model a job runs with, and the warning that goes with the demonstration model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import click

from asr_batch.models.store.names import BUNDLED, bundled_path
from asr_batch.models.store.store import default_model, ensure

WARNING = (
    "{name} is a demonstration model that knows synthetic speech only: its text of a human voice is no "
    "transcript; `asr-batch models pull whisper-tiny` gets a real one."
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The model's folder, and a sentence for the person who uses it."""

    path: Path
    warning: str | None


def choose_model(name: str | None) -> Choice:
    """The named model, else whisper-tiny once it was pulled, else the bundled one. Raises ModelError.

    A known model that is not here is pulled, and stderr says how much that is.
    """
    path = default_model() if name is None else ensure(name, say=_say)
    bundled = next((known for known in BUNDLED if _same(path, bundled_path(known))), None)
    return Choice(path, WARNING.format(name=bundled) if bundled else None)


def _say(message: str) -> None:
    click.echo(message, err=True)


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and path.resolve() == other.resolve()


def folder_sha256(path: Path) -> str:
    """One hash over names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(str(file.relative_to(path)).encode("utf-8", "surrogateescape") + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
