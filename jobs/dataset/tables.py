"""Reads the tables of a data set. Works while a run writes to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from asr_batch.jobs.dataset.schema import TRANSCRIPTS, WINDOWS
from asr_batch.manifests.errors import ConfigError

if TYPE_CHECKING:  # importing it imports pandas if installed, which takes a second
    import pyarrow.dataset as ds

JOB = "job.json"


def open_transcripts(root: str | Path) -> ds.Dataset:
    """The committed rows of transcripts/*.parquet. Raises ConfigError if there is no data set."""
    return _open(Path(root), "transcripts", TRANSCRIPTS)


def open_windows(root: str | Path) -> ds.Dataset:
    """The committed rows of windows/*.parquet. Raises ConfigError if there is no data set."""
    return _open(Path(root), "windows", WINDOWS)


def _open(root: Path, folder: str, empty: pa.Schema) -> ds.Dataset:
    import pyarrow.dataset as ds  # slow to import, for commands that read a data set

    check_dataset(root)
    parts = sorted((root / folder).glob("*.parquet"))
    if not parts:
        return ds.dataset(pa.Table.from_pylist([], schema=empty))
    return ds.dataset([str(part) for part in parts], format="parquet")


def read_rows(root: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Some columns of all committed rows, one part at a time. Raises ConfigError without a data set."""
    check_dataset(root)
    for part in sorted((root / "transcripts").glob("*.parquet")):
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(columns=list(columns)):
                yield from batch.to_pylist()


def check_dataset(root: Path) -> None:
    """Raise ConfigError unless `root` is a data set of asr-batch."""
    if not root.exists():
        raise ConfigError(f"{root}: no such folder; expected the --out folder of a run")
    if not (root / JOB).is_file():
        raise ConfigError(f"{root}: not a data set ({JOB} is missing); expected the --out folder of a run")
