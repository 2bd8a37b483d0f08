"""Readers of line-based manifests: CSV, TSV, JSON Lines and lists of paths, each read as a stream.

Every reader yields `(line, values)` for a row and a `Problem` for a line that cannot be used.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from asr_batch.manifests.columns import ALIASES, audio_expected, is_utf8
from asr_batch.manifests.errors import Problem
from asr_batch.manifests.location import printable

RawRow = tuple[int, Mapping[str, Any]]
BOM = b"\xef\xbb\xbf"
csv.field_size_limit(64 * 1024 * 1024)


def read_lines(stream: IO[bytes], fmt: str) -> Iterator[RawRow | Problem]:
    """The rows of a `jsonl`, `text`, `tsv` or `csv` manifest."""
    if fmt == "jsonl":
        return read_jsonl(stream)
    if fmt == "text":
        return read_paths(stream)
    return read_csv(stream, "\t" if fmt == "tsv" else ",")


def read_csv(stream: IO[bytes], delimiter: str = ",") -> Iterator[RawRow | Problem]:
    """Rows of a CSV file (RFC 4180, UTF-8, optional BOM, any line ending, quoted line breaks)."""
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(_without_bom(text), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    names: set[str] = set()
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            if header is None:
                yield Problem(0, "", "an empty file", f"a header with {' or '.join(ALIASES['audio'])}")
            return
        except csv.Error as error:
            yield Problem(line, "", str(error), "fields quoted as in RFC 4180")
            return  # after a broken quote, line boundaries are unknown
        if not any(fields):  # a spreadsheet writes its empty rows and columns too
            continue
        if header is None:
            header = [name.strip() for name in _named(fields, 0)]
            problem = _bad_header(line, header)
            if problem is not None:
                yield problem
                return
            names = set(ALIASES["audio"])
            continue
        fields = _named(fields, len(header))
        if len(fields) != len(header):
            found = delimiter.join(fields)[:80]
            yield Problem(
                line, "", printable(found), f"{len(header)} fields as in the header, not {len(fields)}"
            )
            continue
        values = dict(zip(header, fields, strict=True))
        bad = None if all(map(str.isascii, fields)) else _not_utf8(line, values, names)
        yield bad if bad is not None else (line, values)


def _named(fields: list[str], count: int) -> list[str]:
    """The fields without empty ones at the end beyond the first `count`."""
    while len(fields) > count and not fields[-1]:
        fields.pop()
    return fields


def _without_bom(text: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(text):
        yield line.removeprefix("\ufeff") if number == 0 else line


def _bad_header(line: int, header: Sequence[str]) -> Problem | None:
    twice = next((name for i, name in enumerate(header) if name in header[:i]), None)
    if twice is not None:
        return Problem(line, twice, twice, "each column name once")
    if not any(name in header for name in ALIASES["audio"]):
        found = ", ".join(header)[:200]
        return Problem(line, "audio", printable(found), audio_expected(header))
    return None


def _not_utf8(line: int, values: Mapping[str, str], paths: set[str]) -> Problem | None:
    """A file name may hold any bytes; all other cells must be UTF-8."""
    for name, value in values.items():
        if name not in paths and not is_utf8(value):
            return Problem(line, name, printable(value)[:200], "text in UTF-8")
    return None


def read_jsonl(stream: IO[bytes]) -> Iterator[RawRow | Problem]:
    """Rows of a JSON Lines file, as NeMo writes them; also accepts a JSON array."""
    for line, raw in enumerate(stream, 1):
        raw = raw.removeprefix(BOM) if line == 1 else raw
        if line == 1 and raw.lstrip().startswith(b"["):
            yield from _read_array(raw + stream.read())
            return
        if raw.strip():
            yield _json_row(line, raw)


def _json_row(line: int, raw: bytes) -> RawRow | Problem:
    try:
        values = json.loads(raw)
    except ValueError as error:  # also bytes that are not UTF-8
        return Problem(
            line, "", raw.decode("utf-8", "backslashreplace").strip()[:80], f"a JSON object ({error})"
        )
    if not isinstance(values, dict):
        return Problem(line, "", str(values)[:80], "a JSON object")
    return line, values


def _read_array(raw: bytes) -> Iterator[RawRow | Problem]:
    try:
        rows = json.loads(raw)
    except ValueError as error:
        yield Problem(
            1, "", raw[:80].decode("utf-8", "backslashreplace"), f"a JSON array of objects ({error})"
        )
        return
    for number, values in enumerate(rows, 1):
        if isinstance(values, dict):
            yield number, values
        else:
            yield Problem(number, "", str(values)[:80], "a JSON object")


def read_paths(stream: IO[bytes]) -> Iterator[RawRow | Problem]:
    """Rows of a text file with one path per line; paths may hold bytes that are not UTF-8."""
    for line, raw in enumerate(stream, 1):
        raw = raw.removeprefix(BOM) if line == 1 else raw
        path = raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if path.strip():
            yield line, {"audio": path}
