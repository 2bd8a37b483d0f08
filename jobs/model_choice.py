"""Chooses the model of a job, and warns about the demonstration model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from asr_batch.models.store.names import BUNDLED, bundled_path
from asr_batch.models.store.store import Store

WARNING = (
    "{name} is a demonstration model: it knows synthetic speech only and writes nonsense for human voices; "
    "{remedy}."
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The model's folder, a warning to show, and a note about the choice that was made for the user."""

    path: Path
    warning: str | None
    note: str | None = None


def _on_stderr(message: str) -> None:
    click.echo(message, err=True)


def choose_model(name: str | None, say: Callable[[str], None] = _on_stderr) -> Choice:
    """The named model, else the best real one in the store, else the bundled one. Raises ModelError.

    A known model that is missing is pulled; `say` gets the size of the download.
    """
    store = Store()
    path = store.default() if name is None else store.ensure(name, say=say)
    bundled = next((known for known in BUNDLED if _same(path, bundled_path(known))), None)
    if bundled:
        return Choice(path, WARNING.format(name=bundled, remedy=_remedy(store)))
    note = f"Model: {path.name}, the best in the store ({path.parent}); --model names another."
    return Choice(path, None, note if name is None else None)


def _remedy(store: Store) -> str:
    """Advice on how to get a real model, preferring one that another program has downloaded."""
    if found := store.elsewhere():
        return f"`--model {found[0].name}` uses a real one that is already on this machine"
    return "`asr-batch models pull tiny.en` gets a real one"


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and path.resolve() == other.resolve()


def folder_sha256(path: Path) -> str:
    """One SHA-256 over the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(str(file.relative_to(path)).encode("utf-8", "surrogateescape") + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
