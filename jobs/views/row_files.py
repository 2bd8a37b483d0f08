"""The files that `run --format` writes as rows finish: in the data set, or next to the audio.

A path depends only on its row, so it does not change when the manifest grows. A file older than its row is
written again, which repairs a crash between the commit and the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from asr_batch.jobs.dataset.files import write_text
from asr_batch.jobs.dataset.reading import stream
from asr_batch.jobs.views.formats import COLUMNS, FORMATS
from asr_batch.jobs.views.names import digest, safe_stem

if TYPE_CHECKING:  # importing it imports pandas if installed, which takes a second
    import pyarrow.dataset as ds

Row = Mapping[str, Any]
CHUNK = 512


class Places(Protocol):
    """Where row files go instead of the data set."""

    def path(self, row: Row, form: str) -> Path | None:
        """The path of a row's file; None if it has to stay in the data set."""

    def may(self, path: Path) -> bool:
        """Whether the file may be written: the path is free, or asr-batch wrote the file."""

    def owns(self, path: Path) -> bool:
        """Whether asr-batch wrote the file."""

    def note(self, path: Path) -> None:
        """Record the file as written. Raises OSError."""


class RowFiles:
    """Writes rows as files of the given formats below `root`, or at `places` where possible."""

    def __init__(self, root: Path, forms: Sequence[str], places: Places | None = None) -> None:
        self.root, self.forms, self.places = root, tuple(forms), places
        self.kept_here = 0
        self.reason = ""

    def write(self, row: Row, forms: Sequence[str] | None = None) -> None:
        """Write the row's files, or delete those of a failed row. Raises OSError for a path below `root`."""
        for form in self.forms if forms is None else forms:
            if row["status"] == "failed":
                self._remove(row, form)
            else:
                self._write(row, form, FORMATS[form](row))

    def _write(self, row: Row, form: str, text: str) -> None:
        beside = self.places.path(row, form) if self.places else None
        if beside is not None and self.places is not None and self._wrote_beside(self.places, beside, text):
            return
        if self.places is not None:
            self.kept_here += 1
        path = self._inside(row, form)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text, durable=False, alone=True)

    def _wrote_beside(self, places: Places, path: Path, text: str) -> bool:
        try:
            if places.may(path):
                places.note(path)
                write_text(path, text, durable=False, alone=True)
                return True
            taken = os.path.lexists(path)
            what = f"{path} was not written by asr-batch" if taken else f"{path.parent} cannot be written"
            self.reason = self.reason or what
        except OSError as error:
            self.reason = self.reason or f"{path.parent} cannot be written ({error.strerror})"
        return False

    def _remove(self, row: Row, form: str) -> None:
        beside = self.places.path(row, form) if self.places else None
        if beside is not None and self.places is not None and self.places.owns(beside):
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        with suppress(OSError):
            self._inside(row, form).unlink(missing_ok=True)

    def _inside(self, row: Row, form: str) -> Path:
        return self.root / form / f"{tree_name(row['id'])}.{form}"

    def text(self) -> str:
        """A sentence for the user about where the files are."""
        folders = ", ".join(f"{self.root / form}/" for form in self.forms)
        if self.places is None:
            return f"Files: {folders}"
        if not self.kept_here:
            return "Files: next to their audio"
        why = self.reason or "the audio is remote"
        return f"Files: next to their audio, but {self.kept_here} in {folders} ({why})"

    def write_missing(self, transcripts: ds.Dataset, wanted: Callable[[str], bool]) -> int:
        """Write missing and outdated files of the committed rows whose ids are wanted; returns how many."""
        columns = ("id", "audio", "status", "finished_at")
        lacking: dict[str, tuple[str, ...]] = {}
        for row in stream(transcripts, columns):
            if wanted(row["id"]) and (forms := self._lacks(row)):
                lacking[row["id"]] = forms
        for found in _rows(transcripts, list(lacking)):
            self.write(found, lacking[found["id"]])
        return len(lacking)

    def _lacks(self, row: Row) -> tuple[str, ...]:
        """The formats whose file is missing or outdated."""
        if row["status"] == "failed":
            return ()
        return tuple(form for form in self.forms if not _fresh(self._path(row, form), row))

    def _path(self, row: Row, form: str) -> Path:
        beside = self.places.path(row, form) if self.places else None
        inside = self._inside(row, form)
        return beside if beside is not None and self.places and self.places.may(beside) else inside


def _fresh(path: Path, row: Row) -> bool:
    try:
        written = os.stat(path).st_mtime  # noqa: PTH116 - a million times
    except OSError:
        return False
    return row["finished_at"] is None or written + 1.0 >= row["finished_at"].timestamp()


def _rows(transcripts: ds.Dataset, ids: Sequence[str]) -> Iterable[Row]:
    from pyarrow.compute import field  # slow to import, and a new job has no such rows

    for begin in range(0, len(ids), CHUNK):
        chunk = field("id").isin(ids[begin : begin + CHUNK])
        yield from stream(transcripts, (*COLUMNS, "audio", "finished_at"), chunk)


def tree_name(row_id: str) -> str:
    """The id as a relative path without extension: slashes become folders, unsafe characters are replaced.

    An id that had to be changed gets a short hash, so no two ids share a path.
    """
    parts = [part for part in row_id.split("/") if part]
    safe = [safe_stem(part) for part in parts] or ["_"]
    name = "/".join(safe)
    return name if name == row_id else f"{name}-{digest(row_id)}"
