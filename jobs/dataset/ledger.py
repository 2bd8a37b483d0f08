"""The ledger: the only writer of a data set. A row is done once `commit` has returned.

New rows go into an open part, which is replaced by a larger one until it is full. A row that is
transcribed again is replaced inside its part. So a reader that lists the parts at any time sees each row
once, no listed name disappears during a run, and nothing has to be merged afterwards.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asr_batch.jobs.dataset.files import FOLDERS, output_errors
from asr_batch.jobs.dataset.index import Index, entry_of
from asr_batch.jobs.dataset.parts import Transaction, part_names, read_part, recover
from asr_batch.jobs.dataset.schema import (
    TRANSCRIPTS,
    Row,
    common_type,
    conform,
    to_table,
    transcripts_schema,
    windows_schema,
)

Pair = tuple[pa.Table, pa.Table]


@dataclass(slots=True)
class Limits:
    """When a part is full: rows, or bytes of its two tables in memory."""

    rows: int = 20_000
    size: int = 32 * 1024 * 1024


class Ledger:
    """The rows of one data set under `root`, locked by one process (see `jobs/dataset/lock.py`)."""

    def __init__(
        self,
        root: Path,
        extra: Sequence[tuple[str, pa.DataType]] = (),
        metadata: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.root = root
        self.limits = limits or Limits()
        with output_errors(root):
            for folder in FOLDERS:
                (root / folder).mkdir(parents=True, exist_ok=True)
        self.notes = recover(root)
        self.names = part_names(root)
        self.schemas = (windows_schema(metadata or {}), transcripts_schema(extra, metadata or {}))
        with output_errors(root):
            self._adopt_columns()
            self.index = Index.load(root, self.names)
            self._open_part: Pair | None = self._unfull_last_part()
        self._rows: list[Row] = []
        self._windows: list[Row] = []
        self._new_ids, self._new_parts = array("q"), array("l")

    def add(self, row: Row, windows: Sequence[Row]) -> None:
        """Accept a finished row with its windows; the next `commit` writes it."""
        self._rows.append(row)
        self._windows.extend(windows)

    def waiting(self) -> int:
        """Number of rows that are not committed yet."""
        return len(self._rows)

    def commit(self) -> int:
        """Write the waiting rows; returns their number. After an OutputError they keep waiting."""
        if not self._rows:
            return 0
        by_part = self._group()
        transaction = Transaction(self.root)
        try:
            with output_errors(self.root):
                pairs = {part: self._merged(part, rows) for part, rows in by_part.items()}
                for part, pair in pairs.items():
                    for folder, table in zip(FOLDERS, pair, strict=True):
                        transaction.stage(table, f"{folder}/{self._name(part)}")
            transaction.commit()
        except BaseException:
            if not (self.root / ".commit.json").exists():
                transaction.abandon()
            raise
        return self._committed(pairs)

    def _group(self) -> dict[int, list[Row]]:
        """The waiting rows by part number."""
        groups: dict[int, list[Row]] = {}
        last = len(self.names) - 1 if self._open_part is not None else len(self.names)
        for row in self._rows:
            position = self.index.find(row["id"])
            part = last if position is None else int(self.index.entries["part"][position])
            groups.setdefault(part, []).append(row)
        return groups

    def _merged(self, part: int, rows: list[Row]) -> Pair:
        """The tables of a part with `rows` added, replacing rows with the same ids."""
        ids = {row["id"] for row in rows}
        windows = [window for window in self._windows if window["id"] in ids]
        fresh = (to_table(windows, self.schemas[0]), to_table(rows, self.schemas[1]))
        old = self._old_tables(part)
        if old is None:
            return fresh
        if any(self.index.find(row_id) is not None for row_id in ids):
            old = (_without(old[0], ids), _without(old[1], ids))
        return (pa.concat_tables([old[0], fresh[0]]), pa.concat_tables([old[1], fresh[1]]))

    def _old_tables(self, part: int) -> Pair | None:
        if part == len(self.names):
            return None
        if part == len(self.names) - 1 and self._open_part is not None:
            return self._open_part
        return self._read(self.names[part])

    def _committed(self, pairs: Mapping[int, Pair]) -> int:
        """Update the state after a commit."""
        if len(self.names) in pairs:
            self.names.append(self._name(len(self.names)))
        last = len(self.names) - 1
        if last in pairs:
            self._open_part = None if self._full(pairs[last]) else _compacted(pairs[last])
        for row in self._rows:
            position = self.index.find(row["id"])
            if position is not None:
                part = int(self.index.entries["part"][position])
                self.index.entries[position] = entry_of(row, part)
            else:
                self._new_ids.append(hash(row["id"]))
                self._new_parts.append(last)
        count = len(self._rows)
        self._rows, self._windows = [], []
        return count

    def _name(self, part: int) -> str:
        if part < len(self.names):
            return self.names[part]
        last = self.names[-1] if self.names else "part-000000.parquet"
        return f"part-{int(last.removeprefix('part-').removesuffix('.parquet')) + 1:06d}.parquet"

    def _full(self, pair: Pair) -> bool:
        return bool(pair[1].num_rows >= self.limits.rows or sum(t.nbytes for t in pair) >= self.limits.size)

    def _read(self, name: str) -> Pair:
        windows, transcripts = (read_part(self.root, folder, name) for folder in FOLDERS)
        return conform(windows, self.schemas[0]), conform(transcripts, self.schemas[1])

    def _unfull_last_part(self) -> Pair | None:
        if not self.names:
            return None
        pair = self._read(self.names[-1])
        return None if self._full(pair) else pair

    def _adopt_columns(self) -> None:
        """Give all parts the same columns: those of the current manifest and of earlier ones.

        Readers take the columns of a data set from one part, so every part needs a new column.
        """
        known = {name: read_part_schema(self.root, name) for name in self.names}
        target = self.schemas[1]
        for schema in known.values():
            for field in schema:
                target = _with_column(target, field)
        self.schemas = (self.schemas[0], target)
        for name, schema in known.items():
            if not schema.equals(target):
                transaction = Transaction(self.root)
                for folder, table in zip(FOLDERS, self._read(name), strict=True):
                    transaction.stage(table, f"{folder}/{name}")
                transaction.commit()

    def find_row(self, row_id: str) -> tuple[Row, list[Row]] | None:
        """A row with its windows from the data set or the waiting rows, or None."""
        for row in self._rows:
            if row["id"] == row_id:
                return row, [window for window in self._windows if window["id"] == row_id]
        part = self._part_of(row_id)
        if part is None:
            return None
        windows, transcripts = self._old_tables(part) or self._read(self.names[part])
        rows: list[dict[str, Any]] = _only(transcripts, row_id).to_pylist()
        return (rows[0], _only(windows, row_id).to_pylist()) if rows else None

    def _part_of(self, row_id: str) -> int | None:
        position = self.index.find(row_id)
        if position is not None:
            return int(self.index.entries["part"][position])
        if not self._new_ids:
            return None
        found = np.flatnonzero(np.frombuffer(self._new_ids, dtype=np.int64) == hash(row_id))
        return self._new_parts[int(found[0])] if len(found) else None


def _with_column(schema: pa.Schema, field: pa.Field) -> pa.Schema:
    """The schema with a column of an older part; the type of a manifest column may change."""
    index = schema.get_field_index(field.name)
    if index < 0:
        return schema.append(field)
    if field.name in TRANSCRIPTS.names or schema.field(index).type == field.type:
        return schema
    return schema.set(index, field.with_type(common_type(schema.field(index).type, field.type)))


def read_part_schema(root: Path, name: str) -> pa.Schema:
    """The columns of a transcripts part."""
    return pq.read_schema(root / "transcripts" / name)


def _without(table: pa.Table, ids: set[str]) -> pa.Table:
    import pyarrow.compute as pc  # slow to import, and most runs replace no row

    return table.filter(pc.invert(pc.is_in(table.column("id"), pa.array(sorted(ids), pa.string()))))


def _only(table: pa.Table, row_id: str) -> pa.Table:
    import pyarrow.compute as pc  # as above

    return table.filter(pc.equal(table.column("id"), row_id))


def _compacted(pair: Pair) -> Pair:
    """The same tables in one chunk each, so that a part of many commits stays cheap to extend."""
    return pair[0].combine_chunks(), pair[1].combine_chunks()
