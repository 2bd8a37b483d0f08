"""Checks a data set: files, schema, unique rows, tiling of windows, coverage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asr_batch.jobs.dataset.facts import hash_file, stat_file
from asr_batch.jobs.dataset.files import FOLDERS, SWAP
from asr_batch.jobs.dataset.parts import JOURNAL, part_names
from asr_batch.jobs.dataset.schema import SCHEMA_VERSION, TRANSCRIPTS, WINDOWS
from asr_batch.jobs.dataset.summary import Summary

Row = Mapping[str, Any]
STEP = 1e-3
"""Tolerance in seconds for equal boundaries."""


def check_dataset_files(root: Path) -> Iterator[str]:
    """Problems of files and columns, as sentences."""
    names = {folder: {path.name for path in (root / folder).glob("*.parquet")} for folder in FOLDERS}
    for folder, other in (FOLDERS, FOLDERS[::-1]):
        for name in sorted(names[folder] - names[other]):
            yield f"{folder}/{name} has no counterpart in {other}/"
    if (root / JOURNAL).exists() or (root / SWAP).exists():
        yield "a commit was interrupted; the next run completes it"
    for folder, schema in (("transcripts", TRANSCRIPTS), ("windows", WINDOWS)):
        for name in sorted(names[folder]):
            yield from _check_schema(root / folder / name, f"{folder}/{name}", schema)


def _check_schema(path: Path, shown: str, schema: pa.Schema) -> Iterator[str]:
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        yield f"{shown} cannot be read ({error})"
        return
    for field in schema:
        index = found.get_field_index(field.name)
        if index < 0:
            yield f"{shown} has no column {field.name}"
        elif found.field(index).type != field.type:
            yield f"{shown}: column {field.name} is {found.field(index).type}, expected {field.type}"
    if (found.metadata or {}).get(b"asr_batch.schema") != SCHEMA_VERSION.encode():
        yield f"{shown} lacks the metadata asr_batch.schema = {SCHEMA_VERSION}"


def check_rows(root: Path) -> Iterator[str]:
    """Problems of rows, as sentences: unique ids, tiling of windows, coverage."""
    seen: dict[int, str] = {}
    for name in part_names(root):
        transcripts = pq.read_table(root / "transcripts" / name)
        windows = _by_id(pq.read_table(root / "windows" / name))
        for row in transcripts.to_pylist():
            key = hash(row["id"])
            if key in seen:
                yield f"row {row['id']!r} is in {seen[key]} and in {name}"
            seen[key] = name
            yield from _check_row(row, windows.pop(row["id"], []))
        for row_id in windows:
            yield f"{name}: windows of {row_id!r} without its transcript"


def _by_id(table: pa.Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    columns = ["id", "index", "start", "end", "keep_start", "keep_end", "cut", "speech", "channel"]
    for row in table.select(columns).to_pylist():
        found[row["id"]].append(row)
    return found


def _check_row(row: Row, windows: Sequence[Row]) -> Iterator[str]:
    who = f"row {row['id']!r}"
    if row["status"] == "failed":
        if not row["error_code"]:
            yield f"{who} failed without an error code"
        return
    if row["status"] not in ("ok", "empty", "partial"):
        yield f"{who}: unknown status {row['status']!r}"
    yield from (f"{who}: {text}" for text in _check_coverage(row))
    by_channel: dict[int, list[Row]] = defaultdict(list)
    for window in windows:
        by_channel[window["channel"]].append(window)
    if not windows and row["duration"] > STEP:
        yield f"{who} has no windows"
    for channel in by_channel.values():
        yield from (f"{who}: {text}" for text in _check_tiling(channel, row["duration"]))
    yield from (f"{who}: {text}" for text in _check_segments(row))


def _check_coverage(row: Row) -> Iterator[str]:
    uncovered = sum(span["end"] - span["start"] for span in row["uncovered"] or [])
    speech, coverage = row["speech"] or 0.0, row["coverage"]
    if coverage is None or not -1e-9 <= coverage <= 1 + 1e-9:
        yield f"coverage is {coverage}, expected 0 to 1"
        return
    expected = max(0.0, 1 - uncovered / speech) if speech > 0 else 1.0
    if abs(expected - coverage) * max(speech, 1.0) > 0.05:
        yield f"coverage is {coverage:.4f}, but its windows give {expected:.4f}"
    if row["status"] == "ok" and uncovered > 0.5 + 0.1 * speech:
        yield f"is ok, but {uncovered:.1f} s of speech have no text"


def _check_tiling(windows: Sequence[Row], duration: float) -> Iterator[str]:
    """Windows must be sorted by time, and their kept parts must tile the span without gap or overlap."""
    for before, after in pairwise(windows):
        if after["index"] <= before["index"]:
            yield f"window {after['index']} comes after window {before['index']}"
        if abs(after["keep_start"] - before["keep_end"]) > STEP:
            border = f"{before['keep_end']:.3f} s to {after['keep_start']:.3f} s"
            yield f"the text of {border} is kept twice or not at all"
        if after["start"] < before["end"] - STEP and before["cut"] != "forced":
            yield f"windows {before['index']} and {after['index']} overlap without a forced cut"
    length = windows[-1]["keep_end"] - windows[0]["keep_start"]
    if abs(length - duration) > max(STEP, 1e-6 * duration):
        yield f"windows tile {length:.3f} s of {duration:.3f} s"


def _check_segments(row: Row) -> Iterator[str]:
    starts = [segment["start"] for segment in row["segments"] or []]
    if starts != sorted(starts):
        yield "segments are not in chronological order"
    if any(segment["end"] < segment["start"] for segment in row["segments"] or []):
        yield "a segment ends before it starts"


def check_summary(summary: Summary | None, rows: int) -> Iterator[str]:
    """Problems of summary.json compared with the rows, as sentences."""
    if summary is not None and summary.rows.done > rows:
        yield f"summary.json counts {summary.rows.done} rows, the data set has {rows}"


def check_audio(root: Path, locate: Mapping[str, str]) -> Iterator[str]:
    """Audio files that changed after transcription, as sentences; `locate` maps ids to locations."""
    for name in part_names(root):
        table = pq.read_table(root / "transcripts" / name, columns=["id", "audio_sha256"])
        for row in table.to_pylist():
            location = locate.get(row["id"])
            if location is None or not row["audio_sha256"] or stat_file(location) is None:
                continue
            if hash_file(location) != row["audio_sha256"]:
                yield f"row {row['id']!r}: {location} has changed since it was transcribed"


def count_rows(root: Path) -> int:
    """Number of rows of the data set."""
    return sum(pq.read_metadata(root / "transcripts" / name).num_rows for name in part_names(root))


def rows_of(root: Path, ids: Sequence[str]) -> dict[str, tuple[Row, list[Row]]]:
    """Some rows with their windows, by id."""
    found: dict[str, tuple[Row, list[Row]]] = {}
    wanted = pa.array(list(ids), pa.string())
    for name in part_names(root):
        parts = []
        for folder in ("transcripts", "windows"):
            table = pq.read_table(root / folder / name)
            parts.append(table.filter(pc.is_in(table.column("id"), wanted)).to_pylist())
        windows: dict[str, list[Row]] = defaultdict(list)
        for window in parts[1]:
            windows[window["id"]].append(window)
        found.update({row["id"]: (row, windows[row["id"]]) for row in parts[0]})
    return found
