"""Opens a manifest: detects its format, yields its rows as records, reports every unusable line.

A manifest is streamed twice: by :meth:`Manifest.check` before any work, and again during the run. Neither
pass keeps more than the ids in memory.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa

from asr_batch.manifests.column_types import ColumnTypes
from asr_batch.manifests.columns import ALIASES, Layout, RowError, build_item
from asr_batch.manifests.errors import ManifestError, Problem
from asr_batch.manifests.ids import Names
from asr_batch.manifests.lines import BOM, RawRow, read_lines
from asr_batch.manifests.location import Base, is_remote, plain_path
from asr_batch.manifests.parquet import read_parquet, read_schema
from asr_batch.manifests.records import AudioItem

Format = Literal["csv", "tsv", "jsonl", "parquet", "text"]

ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".lst": "text",
    ".list": "text",
}
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
STANDARD_INPUT = "standard input"
"""The name of a manifest that came from there."""

MANIFEST_OR_AUDIO = "a manifest (CSV, TSV, JSONL, Parquet, list of paths), or audio files, folders and globs"

_KEPT = 10_000
"""At most this many problems are collected; reading stops there."""


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """The number of rows, and the Arrow type of every passed-through column."""

    rows: int
    extra: tuple[tuple[str, Any], ...]


class Manifest:
    """A manifest that can be read any number of times.

    `name` is the name the user gave, `path` the local file that is read, `base` the folder its paths are
    relative to. `columns` are the column names seen so far.
    """

    def __init__(self, name: str, path: Path, base: Base, fmt: Format | None = None) -> None:
        self.name, self.path, self.base = name, path, base
        self.format: Format = fmt or _format_of(path, name)
        self.renamed = False
        self.columns: tuple[str, ...] = ()
        self._names: Names | None = None

    def at(self, path: Path) -> Manifest:
        """The same manifest from a copy at `path`, which needs no second check."""
        copy = Manifest(self.name, path, self.base, self.format)
        copy.renamed, copy.columns, copy._names = self.renamed, self.columns, self._names
        return copy

    def sha256(self) -> str:
        """The hash of the file's bytes."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def check(self) -> Iterator[AudioItem]:
        """Yield all rows; raises ManifestError at the end if any line cannot be used.

        An explicit id further down may claim a default id given here. Then `renamed` is set at the end, and
        :meth:`rows` has the final ids.
        """
        problems: list[Problem] = []
        names = Names()
        for entry in self._items():
            if isinstance(entry, Problem):
                problems.append(entry)
                if len(problems) >= _KEPT:
                    break
            elif entry.id:
                names.take(entry.id)
                yield entry
            else:
                yield replace(entry, id=names.give(entry.audio))
        problems += self._duplicates(names)
        if problems:
            raise ManifestError(self.name, sorted(problems, key=lambda problem: problem.line))
        self.renamed, self._names = names.renamed, names

    def rows(self) -> Iterator[AudioItem]:
        """Yield the rows with their final ids, in manifest order."""
        if self._names is None:
            for _ in self.check():
                pass
        names = self._names.again() if self._names else Names()
        for entry in self._items():
            if isinstance(entry, Problem):
                raise ManifestError(self.name, [entry])  # the file has changed since `check`
            yield entry if entry.id else replace(entry, id=names.give(entry.audio))

    def _duplicates(self, names: Names) -> list[Problem]:
        """A problem for every repeated explicit id."""
        twice = names.twice()
        if not twice:
            return []
        problems: list[Problem] = []
        first: dict[str, int] = {}
        for entry in self._items():
            if isinstance(entry, Problem) or hash(entry.id) not in twice:
                continue
            line = first.setdefault(entry.id, entry.line)
            if line != entry.line and len(problems) < _KEPT:
                expected = f"a unique id (line {line} has the same)"
                problems.append(Problem(entry.line, "id", entry.id, expected))
        return problems

    def _items(self) -> Iterator[AudioItem | Problem]:
        layouts: dict[tuple[str, ...], Layout] = {}
        for entry in self._raw():
            if isinstance(entry, Problem):
                yield entry
                continue
            line, values = entry
            names = tuple(values)
            layout = layouts.get(names)
            if layout is None:
                layout = layouts[names] = Layout.of(names)
                self.columns = tuple(dict.fromkeys((*self.columns, *names)))
            try:
                yield build_item(line, values, layout, self.base)
            except RowError as error:
                yield error.problem(line)

    def _raw(self) -> Iterator[RawRow | Problem]:
        if Path(self.name).suffix.lower() in SPREADSHEETS:
            yield Problem(0, "", "a spreadsheet", 'its rows as a CSV file; spreadsheets call it "CSV UTF-8"')
            return
        try:
            if self.format == "parquet":
                yield from read_parquet(self.path)
                return
            with _open(self.path) as stream:
                head = stream.peek(2)[:2]  # type: ignore[attr-defined]  # both kinds of stream have it
                if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                    yield Problem(0, "", "UTF-16", 'UTF-8; spreadsheets call it "CSV UTF-8"')
                    return
                yield from read_lines(stream, self.format)
        except (OSError, EOFError, pa.ArrowException) as error:
            yield Problem(0, "", str(error), f"a readable {self.format} file")

    def facts(self, items: Iterator[AudioItem] | None = None) -> ManifestFacts:
        """Count all rows and find the types of the passed-through columns.

        `items` is an iterator over :meth:`check`, if the caller wants to see the rows as well.
        """
        types = ColumnTypes()
        if self.format == "parquet":
            schema = read_schema(self.path)
            types.fix(schema, Layout.of(schema.names).extra)
        rows = 0
        for item in items or self.check():
            rows += 1
            if item.extra:
                types.see(item.extra)
        return ManifestFacts(rows, types.result(as_text=self.format != "jsonl"))


def open_manifest(name: str, spool: Path | None = None) -> Manifest:
    """Open the manifest `name`: a path, a URL, or `-` for CSV on standard input.

    Sources that cannot be read twice (standard input, a URL) are copied to the file `spool` first. Raises
    ManifestError.
    """
    if name == "-":
        copy = _spooled(spool)
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        return Manifest(STANDARD_INPUT, copy, Base(str(Path.cwd())), "csv")
    if is_remote(name):
        copy = _spooled(spool)
        _download(name, copy)
        return Manifest(name, copy, Base(name.rpartition("/")[0], remote=True))
    path = Path(plain_path(name))
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file or folder"
        raise ManifestError(name, [Problem(0, "", found, MANIFEST_OR_AUDIO)])
    return Manifest(name, path, Base(str(path.absolute().parent)))


def _spooled(spool: Path | None) -> Path:
    if spool is None:
        raise ManifestError("-", [Problem(0, "", "-", "a manifest in a file, because it is read twice")])
    spool.parent.mkdir(parents=True, exist_ok=True)
    return spool


def _download(url: str, target: Path) -> None:
    from asr_batch.manifests.download import DownloadError, Request, download  # 40 ms for a few jobs only

    try:
        download(Request(url), target)
    except (OSError, DownloadError) as error:
        raise ManifestError(url, [Problem(0, "", str(error), "a manifest that can be downloaded")]) from error


def _format_of(path: Path, name: str) -> Format:
    stem = Path(name.partition("?")[0] if is_remote(name) else name)
    if stem.suffix.lower() == ".gz":
        stem = stem.with_suffix("")
    return ENDINGS.get(stem.suffix.lower()) or _sniff(path)


def _sniff(path: Path) -> Format:
    """Detect the format by content: Parquet, a JSON object, a header with an audio column, else paths."""
    try:
        with _open(path) as stream:
            head = stream.read(65536).removeprefix(BOM)
    except (OSError, EOFError):
        return "text"
    if head.startswith(b"PAR1"):
        return "parquet"
    first = head.lstrip().partition(b"\n")[0].decode("utf-8", "replace").strip()
    if first.startswith(("{", "[{")) or first == "[":
        return "jsonl"
    for delimiter, fmt in (("\t", "tsv"), (",", "csv")):
        names = [name.strip().strip('"') for name in first.split(delimiter)]
        if any(name in ALIASES["audio"] for name in names):
            return cast(Format, fmt)
    return "text"


def _open(path: Path) -> IO[bytes]:
    """Open the file, decompressing gzip."""
    stream = path.open("rb")
    packed = stream.peek(2)[:2] == b"\x1f\x8b" if isinstance(stream, io.BufferedReader) else False
    return cast(IO[bytes], gzip.open(stream)) if packed else stream
