"""Exports a data set: one file per row, named by its id, and an index."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from asr_batch.jobs.dataset.reading import column, stream
from asr_batch.jobs.dataset.tables import open_transcripts
from asr_batch.jobs.views.formats import COLUMNS, FORMATS
from asr_batch.jobs.views.names import Names
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.replacing import replacing

INDEX = "index.csv"


@dataclass(frozen=True, slots=True)
class Exported:
    """Numbers of files written, and of rows without a transcript and so without a file."""

    files: int
    failed: int
    index: Path


def export_rows(dataset: Path, form: str, to: Path) -> Exported:
    """Write every committed row that is not `failed` to its own file in `to`.

    Existing files are replaced atomically, one by one. Raises ConfigError when `dataset` is not a data set or
    `to` cannot be written.
    """
    transcripts = open_transcripts(dataset)
    names = Names(column(transcripts, "id"))
    files = failed = 0
    with _index(to) as lines:
        for row in stream(transcripts, COLUMNS):
            name = _write(row, form, to, names)
            files, failed = files + bool(name), failed + (not name)
            lines.writerow([row["id"], name, row["status"], row.get("error_code") or ""])
    return Exported(files, failed, to / INDEX)


def _write(row: dict[str, Any], form: str, to: Path, names: Names) -> str:
    """Write the row's file and return its name; empty for a failed row, which gets no file."""
    stem = names.stem(row["id"])
    if row["status"] == "failed":
        return ""
    name = f"{stem}.{form}"
    with _replaced(to / name) as out:
        out.write(FORMATS[form](row))
    return name


@contextmanager
def _index(to: Path) -> Iterator[Any]:
    """A CSV writer for the index, which replaces an older index only when it is complete."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        with _replaced(to / INDEX) as out:
            lines = csv.writer(out)
            lines.writerow(("id", "file", "status", "error_code"))
            yield lines
    except OSError as error:
        what = f"{to} cannot be written ({error.strerror or error}); expected a folder with free space"
        raise ConfigError(what) from error


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """A text file that appears at `path` when complete."""
    with replacing(path) as hidden, hidden.open("w", encoding="utf-8", newline="") as out:
        yield out
