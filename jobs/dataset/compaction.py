"""Merges part files so that no reader sees a row twice or misses one.

The new contents of `transcripts/` and `windows/` are built as folders next to the old ones (unchanged
parts are hard links), and each is swapped in by one atomic exchange. After a crash in between, the next
process that opens the data set completes the swap from a journal. Only a query that lists the old names
and opens them after the swap has to be repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from asr_batch.jobs.dataset.files import FOLDERS, SWAP, finish_swap, output_errors, write_text
from asr_batch.jobs.dataset.parts import part_names, recover
from asr_batch.manifests.replacing import sync

MAX_ROWS = 500_000
MAX_BYTES = 256 * 1024 * 1024


def compact_parts(root: Path, rows: int = MAX_ROWS, size: int = MAX_BYTES) -> tuple[int, int]:
    """Merge neighbouring parts up to `rows` rows and `size` bytes; returns both part counts.

    The caller holds the lock. Raises OutputError.
    """
    recover(root)
    with output_errors(root):
        names = part_names(root)
        groups = _groups(root, names, rows, size)
        if all(len(group) == 1 for group in groups):
            return len(names), len(names)
        token = uuid.uuid4().hex[:12]
        try:
            for folder in FOLDERS:
                _build(root, folder, groups, token)
            write_text(root / SWAP, json.dumps({"token": token}))
        except BaseException:
            if not (root / SWAP).exists():
                for folder in FOLDERS:
                    shutil.rmtree(root / f".{folder}.{token}", ignore_errors=True)
            raise
        finish_swap(root)
        return len(names), len(groups)


def _groups(root: Path, names: Sequence[str], rows: int, size: int) -> list[list[str]]:
    groups: list[list[str]] = []
    space_rows = space_size = 0
    for name in names:
        count = pq.read_metadata(root / "transcripts" / name).num_rows
        weight = sum((root / folder / name).stat().st_size for folder in FOLDERS)
        if groups and count <= space_rows and weight <= space_size:
            groups[-1].append(name)
            space_rows, space_size = space_rows - count, space_size - weight
        else:
            groups.append([name])
            space_rows, space_size = rows - count, size - weight
    return groups


def _build(root: Path, folder: str, groups: Sequence[Sequence[str]], token: str) -> None:
    """Build and sync the new folder; a merged part gets the last of the old names."""
    new = root / f".{folder}.{token}"
    new.mkdir()
    for group in groups:
        target = new / group[-1]
        if len(group) == 1:
            _link(root / folder / group[0], target)
        else:
            _merge([root / folder / name for name in group], target)
    (new / f".swap-{token}").touch()
    sync(new)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # file systems without hard links
        shutil.copyfile(source, target)


def _merge(sources: Sequence[Path], target: Path) -> None:
    """Stream the parts into one, a row group at a time."""
    schema = pq.read_schema(sources[-1])
    with target.open("wb") as stream:
        with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for source in sources:
                for batch in pq.ParquetFile(source).iter_batches(batch_size=16_384):
                    table = pa.Table.from_batches([batch])
                    writer.write_table(table.cast(schema.remove_metadata()).cast(schema))
        stream.flush()
        os.fsync(stream.fileno())
