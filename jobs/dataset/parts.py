"""Atomic transactions over part files.

A :class:`Transaction` writes every new part under a hidden name without the extension `.parquet` and syncs
it. Then it writes a journal of the renames; renaming the journal itself is the commit point. Then it
renames the parts (windows before transcripts) and deletes the journal. The next writer calls
:func:`recover`, which completes the renames of a remaining journal and deletes hidden files that are in no
journal. So a crash leaves either the old or the new state.

Part names are never reused for other parts, so a journal can be replayed safely.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from asr_batch.jobs.dataset.files import (
    FOLDERS,
    drop_unfinished,
    finish_swap,
    output_errors,
    write_text,
)
from asr_batch.manifests.replacing import HIDDEN, sync

JOURNAL = ".commit.json"


class Transaction:
    """New part files under `root`, and parts to remove, as one transaction."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._moves: list[tuple[str, str]] = []
        self._removes: list[str] = []

    def stage(self, table: pa.Table, final: str) -> None:
        """Write `table` under a hidden name; it becomes `final` (relative to `root`) on commit."""
        target = self.root / final
        hidden = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:12]}{HIDDEN}")
        self._moves.append((str(hidden.relative_to(self.root)), final))
        with hidden.open("wb") as stream:
            pq.write_table(table, stream, compression="zstd", row_group_size=16_384)
            stream.flush()
            os.fsync(stream.fileno())

    def remove(self, final: str) -> None:
        """Remove a part on commit."""
        self._removes.append(final)

    def commit(self) -> None:
        """Apply all changes. After an OutputError the old state remains."""
        order = {folder: number for number, folder in enumerate(FOLDERS)}
        self._moves.sort(key=lambda move: order.get(move[1].partition("/")[0], 0))
        journal = {"moves": self._moves, "removes": self._removes}
        with output_errors(self.root):
            for folder in {(self.root / final).parent for _, final in self._moves}:
                sync(folder)
            write_text(self.root / JOURNAL, json.dumps(journal))
            _apply(self.root, self._moves, self._removes)
            (self.root / JOURNAL).unlink()

    def abandon(self) -> None:
        """Delete the staged files."""
        for hidden, _ in self._moves:
            (self.root / hidden).unlink(missing_ok=True)


def _apply(root: Path, moves: list[tuple[str, str]], removes: list[str]) -> None:
    for hidden, final in moves:
        try:
            os.rename(root / hidden, root / final)  # noqa: PTH104 - as little as possible between two renames
        except FileNotFoundError:
            continue  # replayed journal: already renamed
    for final in removes:
        (root / final).unlink(missing_ok=True)
    for folder in FOLDERS:
        if (root / folder).is_dir():
            sync(root / folder)


def recover(root: Path) -> list[str]:
    """Complete an interrupted commit and delete uncommitted files; returns messages for the log."""
    notes: list[str] = []
    journal = root / JOURNAL
    with output_errors(root):
        if journal.exists():
            changes = json.loads(journal.read_text(encoding="utf-8"))
            _apply(root, [tuple(move) for move in changes["moves"]], changes["removes"])
            journal.unlink()
            notes.append(f"completed an interrupted commit of {len(changes['moves'])} part files")
        if finish_swap(root):
            notes.append("completed an interrupted merge of part files")
        for folder in (root, *(root / name for name in FOLDERS)):
            for hidden in folder.glob(f".*{HIDDEN}"):
                hidden.unlink(missing_ok=True)
                notes.append(f"deleted {hidden.name}, which was never committed")
        drop_unfinished(root)
        notes.extend(_set_lone_parts_aside(root))
    return notes


def _set_lone_parts_aside(root: Path) -> Iterator[str]:
    """Rename parts without a counterpart (removed by other programs), so that no glob matches them."""
    names = {folder: {path.name for path in (root / folder).glob("*.parquet")} for folder in FOLDERS}
    for folder, other in (FOLDERS, FOLDERS[::-1]):
        for name in sorted(names[folder] - names[other]):
            (root / folder / name).rename(root / folder / f"{name}.alone")
            yield f"{folder}/{name} has no counterpart in {other}/: set aside, its rows will run again"


def part_names(root: Path) -> list[str]:
    """Names of the committed parts, in order."""
    return sorted(path.name for path in (root / "transcripts").glob("*.parquet"))


def read_part(root: Path, folder: str, name: str) -> pa.Table:
    """One part as a table, without the memory map that would keep a replaced file alive."""
    return pq.ParquetFile(root / folder / name, memory_map=False).read()
