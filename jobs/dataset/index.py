"""An in-memory index of the data set, 90 bytes per row, for resuming and for totals."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from asr_batch.jobs.quality import COUNTS, Errors, errors_of
from asr_batch.manifests.errors import ERROR_CODES

STATUSES = ("ok", "empty", "partial", "failed")
CODES = ("", *sorted(ERROR_CODES))
_CODE = {code: number for number, code in enumerate(CODES)}
_STATUS = {status: number for number, status in enumerate(STATUSES)}

ENTRY = np.dtype(
    [
        ("id", "i8"),
        ("part", "i4"),
        ("status", "i1"),
        ("code", "i1"),
        ("work", "i8"),
        ("audio", "i8"),
        ("file", "i8"),
        ("duration", "f8"),
        ("speech", "f8"),
        ("coverage", "f8"),
        ("decode", "f8"),
        ("scored", "i1"),
        ("words", "i4"),
        ("word_errors", "i4"),
        ("characters", "i4"),
        ("character_errors", "i4"),
    ]
)
"""One row of the data set; texts are stored as 64-bit hashes, valid in this process."""

COLUMNS = [
    "id",
    "status",
    "error_code",
    "model_sha256",
    "settings_sha256",
    "audio_sha256",
    "audio_bytes",
    "audio_mtime_ns",
    "duration",
    "speech",
    "coverage",
    "decode_seconds",
    "reference",
    "wer",
    "cer",
    *COUNTS,
]

Entries = NDArray[np.void]


def work_hash(model_sha256: str, settings_sha256: str) -> int:
    """A hash of the audio, model and settings of a row."""
    return hash((model_sha256, settings_sha256))


def file_hash(size: int | None, mtime_ns: int | None) -> int:
    """A hash of a local file's size and time, which tells whether to read its content again."""
    return 0 if size is None or mtime_ns is None else hash((size, mtime_ns))


def entry_of(row: Mapping[str, Any], part: int) -> tuple[Any, ...]:
    """The index entry of one row of transcripts/*.parquet."""
    errors = _errors(row)
    return (
        hash(row["id"]),
        part,
        _STATUS.get(row["status"], 3),
        _CODE.get(row.get("error_code") or "", 0),
        work_hash(row.get("model_sha256") or "", row.get("settings_sha256") or ""),
        hash(row.get("audio_sha256") or ""),
        file_hash(row.get("audio_bytes"), row.get("audio_mtime_ns")),
        row.get("duration") or 0.0,
        row.get("speech") or 0.0,
        1.0 if row.get("coverage") is None else row["coverage"],
        row.get("decode_seconds") or 0.0,
        errors.rows,
        errors.words,
        errors.word_errors,
        errors.characters,
        errors.character_errors,
    )


def _errors(row: Mapping[str, Any]) -> Errors:
    """The row's counts; for older parts without these columns, an estimate from its rates."""
    if row.get("wer") is None or row.get("reference") is None:
        return Errors()
    if row.get(COUNTS[0]) is not None:
        return errors_of(row) or Errors()
    words, characters = len(row["reference"].split()), len(row["reference"])
    word_errors, character_errors = round(row["wer"] * words), round((row.get("cer") or 0.0) * characters)
    return Errors(words, word_errors, characters, character_errors, 1)


class Index:
    """All rows of the data set at the time it was opened, sorted by id hash."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        self._ids = array("q", entries["id"].tobytes())

    @classmethod
    def load(cls, root: Path, names: Sequence[str]) -> Index:
        """Read the necessary columns of the parts `names`."""
        chunks: list[Entries] = []
        for part, name in enumerate(names):
            file = pq.ParquetFile(root / "transcripts" / name)
            columns = [column for column in COLUMNS if column in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=8192, columns=columns):
                rows = [entry_of(row, part) for row in batch.to_pylist()]
                chunks.append(np.array(rows, dtype=ENTRY))
        entries = np.concatenate(chunks) if chunks else np.empty(0, dtype=ENTRY)
        entries.sort(order="id")
        return cls(entries)

    def find(self, row_id: str) -> int | None:
        """Position of a row, or None."""
        wanted = hash(row_id)
        position = bisect_left(self._ids, wanted)
        return position if position < len(self._ids) and self._ids[position] == wanted else None

    def present(self, id_hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For every entry, whether its row is in the manifest."""
        return np.isin(self.entries["id"], id_hashes)
