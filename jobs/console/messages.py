"""Messages of a job on stderr: sentences, and the table at the end."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr_batch.jobs.console.progress import hms
from asr_batch.jobs.dataset.summary import RowCounts
from asr_batch.manifests.location import plain_path, printable

TABLE_ROWS = 40
LINE = 160
LARGEST_LOG = 10 * 1024 * 1024
NARROW = 60
"""Columns of a terminal below which a row of the table is one line, cut off."""

COLOURS = {"ok": "green", "empty": "cyan", "partial": "yellow", "failed": "red"}


class Messages:
    """Prints messages on stderr: as text, as JSON lines, or (quiet) only problems."""

    def __init__(self, *, quiet: bool = False, as_json: bool = False, stream: TextIO | None = None) -> None:
        self.quiet, self._json, self.stream = quiet, as_json, stream or sys.stderr

    def say(self, text: str) -> None:
        """Print information; omitted if quiet."""
        if not self.quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """Print a problem, even if quiet."""
        line = json.dumps({"event": "message", "text": text}) if self._json else text
        print(line, file=self.stream, flush=True)

    def stopped_at_once(self) -> None:
        """Say that the process ends before its work is put away."""
        self.complain("asr-batch: stopped at once; the same command resumes")

    def table(self, rows: Sequence[Mapping[str, Any]], left_out: int) -> None:
        """Print file, status, duration and text of some rows; `left_out` is the number of other rows."""
        if self.quiet or self._json or not rows:
            return
        table = Table("file", "status", "duration", "text", box=None, pad_edge=False)
        table.columns[2].justify = "right"
        names = [printable(plain_path(row["audio"])) for row in rows]
        folder = _common_folder(names)
        for row, name in zip(rows, names, strict=True):
            several = f" ({printable(row['id'])})" if names.count(name) > 1 else ""
            name = one_line(name.removeprefix(folder) + several)
            status = Text(row["status"], COLOURS[row["status"]])
            table.add_row(Text(name), status, hms_short(row["duration"]), Text(one_line(told(row))))
        console = Console(file=self.stream, width=None if self.stream.isatty() else 120, emoji=False)
        if console.width < NARROW:
            for column in table.columns:
                column.no_wrap = True
        console.print(table)
        if left_out > 0:
            console.print(f"... and {left_out} more rows")


def told(row: Mapping[str, Any]) -> str:
    """What is shown of a row: its text or error, of a partial row the error and the text."""
    text, error = row["text"] or "", row["error_message"] or ""
    return f"({error}) {text}".rstrip() if row["status"] == "partial" and error else error or text


def _common_folder(paths: Sequence[str]) -> str:
    """The common parent folder of all paths, with a trailing slash, if all are absolute; else empty."""
    if not all(path.startswith("/") for path in paths):
        return ""
    folder = os.path.commonpath([path.rpartition("/")[0] or "/" for path in paths])
    return folder.rstrip("/") + "/"


@contextmanager
def real_stderr() -> Iterator[TextIO]:
    """A stream to the current standard error, unaffected by later changes of file descriptor 2.

    A job continues without its reader: output to a closed pipe or a lost terminal is dropped.
    """
    with suppress(OSError, ValueError, AttributeError):  # closed, or never open
        sys.stderr.flush()
    try:
        descriptor = os.dup(2)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    raw = _Lasting(descriptor, "w")
    with io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=raw.isatty()
    ) as stream:
        yield stream


class _Lasting(io.FileIO):
    """A file that accepts all data and drops what cannot be written."""

    def write(self, data: Any, /) -> int:
        """Write `data`, or drop it if there is no reader left."""
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


@contextmanager
def native_stderr_to(path: Path) -> Iterator[None]:
    """Redirect file descriptor 2, to which libraries such as MP3 decoders print, to a file."""
    before = os.dup(2)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        if path.exists() and path.stat().st_size > LARGEST_LOG:
            flags |= os.O_TRUNC
        target = os.open(path, flags, 0o644)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, 2)
    os.close(target)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        with suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()


def tell_result(text: str) -> None:
    """Print a result on standard output, if there is still a reader."""
    try:
        print(text, flush=True)  # noqa: T201
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # otherwise Python fails once more at exit


def program() -> str:
    """The command for use in messages: its name if it is on the PATH, else how it was called."""
    called, found = Path(sys.argv[0]), shutil.which("asr-batch")
    if called.name != "asr-batch":
        return "asr-batch" if found else f"{shlex.quote(sys.executable)} -m asr_batch.jobs"
    return "asr-batch" if found and called.exists() and called.samefile(found) else shlex.quote(str(called))


def hms_short(seconds: float | None) -> str:
    """A duration for the table: 3.2 s, or 1:02:03 from a minute on."""
    if not seconds:
        return "-"
    return f"{seconds:.1f} s" if seconds < 60 else hms(seconds)


def one_line(text: str) -> str:
    """Text for a terminal: at most 160 characters, without control characters."""
    text = "".join(char if char.isprintable() else " " for char in text[: LINE + 1])
    return text if len(text) <= LINE else f"{text[: LINE - 3]}..."


def misspelt_text(name: str, meant: str) -> str:
    """The warning about a column whose name resembles a known one."""
    return f"the manifest's column {name} is passed through without effect; is {meant} meant?"


def misplaced_text(missing: int, rows: int, folder: str | None) -> str:
    """The advice for a manifest none of whose files exists, most likely because it was moved; else empty."""
    if not rows or missing < rows or folder is None:
        return ""
    return f"None of the files exists; relative paths start at the manifest's folder, {folder}."


def plural(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def counts_line(counts: RowCounts) -> str:
    """`12 ok, 1 empty, 2 failed` without zero counts."""
    names = ("ok", "empty", "partial", "failed", "pending")
    told = [f"{count} {name}" for name in names if (count := getattr(counts, name))]
    return ", ".join(told) or "no rows"
