"""Reads a data set row by row in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asr_batch.manifests.errors import ConfigError

if TYPE_CHECKING:  # importing it imports pandas if installed, which takes a second
    import pyarrow.dataset as ds

BATCH = 128
"""Rows converted to Python objects at a time; with words, a row of one hour takes a few megabytes."""


def stream(
    dataset: ds.Dataset,
    columns: Sequence[str],
    where: ds.Expression | None = None,
    batch: int = BATCH,
) -> Iterator[dict[str, Any]]:
    """The rows of a data set as dicts with those of `columns` that exist."""
    present = [name for name in columns if name in dataset.schema.names]
    for part in _batches(dataset, columns=present, filter=where, batch_size=batch):
        yield from part.to_pylist()


def column(dataset: ds.Dataset, name: str) -> Iterator[Any]:
    """The values of one column."""
    for part in _batches(dataset, columns=[name]):
        yield from part.column(0).to_pylist()


def _batches(dataset: ds.Dataset, **options: Any) -> Iterator[pa.RecordBatch]:
    """Batches, read slightly ahead. Raises ConfigError if a running job merged the parts meanwhile."""
    try:
        yield from dataset.to_batches(batch_readahead=2, fragment_readahead=1, **options)
    except FileNotFoundError as error:
        message = f"the data set changed while it was read ({error}); run the same command again"
        raise ConfigError(message) from error
