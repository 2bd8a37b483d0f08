"""Export of a data set: one file per row, named by its id, and an index of which is which."""

from __future__ import annotations

import csv
import os
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

INDEX = "index.csv"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote: files, and the rows that have no transcript and so no file."""

    files: int
    failed: int
    index: Path


def export_rows(dataset: Path, form: str, to: Path) -> Exported:
    """Write every committed row that is not `failed` to its own file in `to`.

    Files that are there already are replaced one by one, each whole. Raises ConfigError when `dataset` is
    none or `to` cannot be written.
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
    """The name of the row's file, or nothing for a failed row: an empty file would pass for a transcript."""
    stem = names.stem(row["id"])
    if row["status"] == "failed":
        return ""
    name = f"{stem}.{form}"
    with _replaced(to / name) as out:
        out.write(FORMATS[form](row))
    return name


@contextmanager
def _index(to: Path) -> Iterator[Any]:
    """A CSV writer for the index; it replaces an older index only when all is written."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        with _replaced(to / INDEX) as out:
            lines = csv.writer(out)
            lines.writerow(("id", "file", "status", "error_code"))
            yield lines
    except OSError as error:
        what = f"{to} cannot be written: {error}; give a folder with room and write access"
        raise ConfigError(what) from error


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """A text file that takes its name when it is complete; a link of that name is replaced, not followed."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with hidden.open("w", encoding="utf-8", newline="") as out:
            yield out
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
