"""Reads manifests in Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from asr_batch.manifests.columns import ALIASES, audio_expected
from asr_batch.manifests.errors import Problem
from asr_batch.manifests.lines import RawRow


def _opened(path: Path) -> pq.ParquetFile:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if packed:  # a Parquet file is read from its end, so a compressed one must be decompressed as a whole
        with gzip.open(path) as unpacked:
            return pq.ParquetFile(pa.BufferReader(unpacked.read()))
    return pq.ParquetFile(path)


def read_schema(path: Path) -> pa.Schema:
    """The columns of the file; none if it cannot be read."""
    try:
        return _opened(path).schema_arrow
    except (OSError, pa.ArrowException):
        return pa.schema([])  # `Manifest.check` reports the error


def read_parquet(path: Path) -> Iterator[RawRow | Problem]:
    """The rows with their numbers, from 1. Raises OSError and ArrowException."""
    file = _opened(path)
    names = file.schema_arrow.names
    if not any(name in ALIASES["audio"] for name in names):
        yield Problem(0, "audio", ", ".join(names)[:200], audio_expected(names))
        return
    line = 0
    for batch in file.iter_batches(batch_size=4096):
        columns = [_values(batch.column(index)) for index in range(batch.num_columns)]
        for values in zip(*columns, strict=True):
            line += 1
            yield line, dict(zip(names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """Python values, or Arrow scalars where Python has no such type (nanoseconds without pandas)."""
    try:
        return cast(list[Any], column.to_pylist())
    except (ValueError, OverflowError):
        return list(column)
