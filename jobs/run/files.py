"""A ledger that also writes the files of `--format` after each commit."""

from __future__ import annotations

from collections.abc import Sequence

from asr_batch.jobs.dataset.files import output_errors
from asr_batch.jobs.dataset.schema import Row
from asr_batch.jobs.run.driver.commits import Book
from asr_batch.jobs.views.row_files import RowFiles


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
