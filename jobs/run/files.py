"""The files of `--format`: those that are missing before a run, and those of the rows of each commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.config.values import formats_of
from asr_batch.jobs.dataset.files import output_errors
from asr_batch.jobs.dataset.schema import Row
from asr_batch.jobs.dataset.tables import open_transcripts
from asr_batch.jobs.run.driver.commits import Book
from asr_batch.jobs.views.beside import Beside
from asr_batch.jobs.views.row_files import RowFiles
from asr_batch.manifests.reader import Manifest
from asr_batch.manifests.survey import Survey

log = logging.getLogger("asr_batch")


def files_of(config: RunConfig, root: Path, manifest: Manifest, found: Survey) -> RowFiles | None:
    """The files of `--format`, of which missing ones of finished rows are written; None without that option.

    Raises OutputError.
    """
    forms = formats_of(config.format)
    if not forms:
        return None
    places = Beside(root, manifest.base, manifest.rows()) if config.beside_audio else None
    files = RowFiles(root, forms, places)
    with output_errors(root):
        written = files.write_missing(open_transcripts(root), found.has)
    if written:
        log.info("files written for rows that lacked them", extra={"data": {"rows": written}})
    return files


class FileBook:
    """Forwards to `book`, and writes the files of committed rows."""

    def __init__(self, book: Book, files: RowFiles) -> None:
        self._book, self._files = book, files
        self.index = book.index
        self._rows: list[Row] = []

    def add(self, row: Row, windows: Sequence[Row]) -> None:
        """Accept a finished row with its windows."""
        self._rows.append(row)
        self._book.add(row, windows)

    def commit(self) -> int:
        """Commit, then write files. Raises OutputError; committed rows stay committed."""
        count = self._book.commit()
        rows, self._rows = self._rows, []
        with output_errors(self._files.root):
            for row in rows:
                self._files.write(row)
        return count

    def waiting(self) -> int:
        """Rows that are not committed yet."""
        return self._book.waiting()

    def find_row(self, row_id: str) -> tuple[Row, list[Row]] | None:
        """A finished row with its windows."""
        return self._book.find_row(row_id)
