"""The columns of the data set (schema version 1), and rows as Arrow tables.

The columns of docs/outputs.md come first, then columns added later, then the manifest's own columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from asr_batch.manifests.location import printable
from asr_batch.manifests.records import Segment, Transcript, WindowRecord

SCHEMA_VERSION = "1"

_STRINGS = pa.list_(pa.string())
_SPANS = pa.list_(pa.struct([("start", pa.float64()), ("end", pa.float64())]))
_SEGMENTS = pa.list_(
    pa.struct(
        [
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("text", pa.string()),
            ("channel", pa.int32()),
            ("avg_logprob", pa.float32()),
            ("no_speech_prob", pa.float32()),
            ("compression_ratio", pa.float32()),
            ("temperature", pa.float32()),
            ("flags", _STRINGS),
            ("language", pa.string()),
        ]
    )
)
_WORDS = pa.list_(
    pa.struct([("start", pa.float64()), ("end", pa.float64()), ("word", pa.string()), ("prob", pa.float32())])
)
_HYPOTHESES = pa.list_(
    pa.struct(
        [
            ("source", pa.string()),
            ("text", pa.string()),
            ("avg_logprob", pa.float32()),
            ("compression_ratio", pa.float32()),
            ("temperature", pa.float32()),
        ]
    )
)

TRANSCRIPTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("audio", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("text", pa.string()),
        ("segments", _SEGMENTS),
        ("words", _WORDS),
        ("language", pa.string()),
        ("language_prob", pa.float32()),
        ("duration", pa.float64()),
        ("speech", pa.float64()),
        ("coverage", pa.float64()),
        ("uncovered", _SPANS),
        ("model", pa.string()),
        ("model_sha256", pa.string()),
        ("settings_sha256", pa.string()),
        ("audio_sha256", pa.string()),
        ("encoder_backend", pa.string()),
        ("node", pa.string()),
        ("attempts", pa.int32()),
        ("decode_seconds", pa.float64()),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("reference", pa.string()),
        ("wer", pa.float64()),
        ("cer", pa.float64()),
        ("audio_bytes", pa.int64()),
        ("audio_mtime_ns", pa.int64()),
        ("notes", _STRINGS),
        ("reference_words", pa.int32()),
        ("word_errors", pa.int32()),
        ("reference_characters", pa.int32()),
        ("character_errors", pa.int32()),
        ("glossary", pa.list_(pa.struct([("term", pa.string()), ("count", pa.int32())]))),
    ]
)

WINDOWS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("index", pa.int32()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("keep_start", pa.float64()),
        ("keep_end", pa.float64()),
        ("cut", pa.string()),
        ("text", pa.string()),
        ("tokens", pa.list_(pa.int32())),
        ("avg_logprob", pa.float32()),
        ("no_speech_prob", pa.float32()),
        ("compression_ratio", pa.float32()),
        ("temperature", pa.float32()),
        ("speech", pa.float64()),
        ("words_per_second", pa.float32()),
        ("flags", _STRINGS),
        ("encoder_backend", pa.string()),
        ("node", pa.string()),
        ("batch", pa.int64()),
        ("channel", pa.int32()),
        ("language", pa.string()),
        ("uncovered", _SPANS),
        ("hypotheses", _HYPOTHESES),
        ("arithmetic", pa.string()),
    ]
)

Row = dict[str, Any]
_SEGMENT_FIELDS = tuple(field.name for field in fields(Segment))
_WINDOW_FIELDS = tuple(
    name for name in WINDOWS.names if name not in ("id", "flags", "tokens", "uncovered", "hypotheses")
)


def output_name(column: str) -> str:
    """The output name of a manifest column; prefixed with `manifest_` if the schema has that name."""
    return f"manifest_{column}" if column in TRANSCRIPTS.names else column


def transcripts_schema(extra: Iterable[tuple[str, pa.DataType]], metadata: Mapping[str, str]) -> pa.Schema:
    """The columns of transcripts, followed by the manifest's own."""
    schema = TRANSCRIPTS
    for name, kind in extra:
        if output_name(name) not in schema.names:
            schema = schema.append(pa.field(output_name(name), kind))
    return schema.with_metadata(dict(metadata))


def windows_schema(metadata: Mapping[str, str]) -> pa.Schema:
    """The columns of windows."""
    return WINDOWS.with_metadata(dict(metadata))


def transcript_row(transcript: Transcript, finished_at: datetime, more: Mapping[str, Any]) -> Row:
    """One row of transcripts/*.parquet; `more` has the driver's columns (model, reference, ...)."""
    t = transcript
    row: Row = {
        "id": t.id,
        "audio": t.audio,
        "status": t.status,
        "error_code": t.error_code,
        "error_message": t.error_message,
        "text": t.text,
        "segments": [_segment(segment) for segment in t.segments],
        "words": None if t.words is None else [asdict(word) for word in t.words],
        "language": t.language,
        "language_prob": t.language_prob,
        "duration": t.duration,
        "speech": t.speech,
        "coverage": t.coverage,
        "uncovered": _spans(t.uncovered),
        "model_sha256": t.model_sha256,
        "audio_sha256": t.audio_sha256,
        "encoder_backend": t.encoder_backend,
        "node": t.node,
        "attempts": t.attempts,
        "decode_seconds": t.decode_seconds,
        "finished_at": finished_at,
        "notes": list(t.notes),
    }
    row.update(more)
    return row


def window_row(row_id: str, window: WindowRecord) -> Row:
    """One row of windows/*.parquet."""
    row: Row = {name: getattr(window, name) for name in _WINDOW_FIELDS}
    row["id"] = row_id
    row["flags"] = list(window.flags)
    row["tokens"] = list(window.tokens)
    row["uncovered"] = _spans(window.uncovered)
    row["hypotheses"] = [asdict(hypothesis) for hypothesis in window.hypotheses]
    return row


def _segment(segment: Segment) -> Row:
    row: Row = {name: getattr(segment, name) for name in _SEGMENT_FIELDS}
    row["flags"] = list(segment.flags)
    return row


def _spans(spans: Iterable[tuple[float, float]]) -> list[Row]:
    return [{"start": start, "end": end} for start, end in spans]


def to_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table with exactly `schema`; absent columns are null."""
    arrays = [_array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
        return pa.array([_fitted(value, kind) for value in values], kind)


def _fitted(value: Any, kind: pa.DataType) -> Any:
    """The value if it fits its column, JSON if the column is text, else null: a row is never lost."""
    try:
        return pa.scalar(value, kind).as_py()
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
        if not pa.types.is_string(kind):
            return None
        return printable(value if isinstance(value, str) else json.dumps(value, default=str))


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of `schema`: absent ones null, other types cast if possible."""
    columns = []
    for field in schema:
        index = table.schema.get_field_index(field.name)
        if index < 0:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(index)
        columns.append(column if column.type == field.type else _cast(column, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return _array(column.to_pylist(), kind)


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A type that fits the values of both; text if there is no other."""
    try:
        both = [pa.schema([("x", kind)]) for kind in (one, other)]
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()
