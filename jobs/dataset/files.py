"""Writes and swaps files and folders of a data set atomically, with readable errors."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from asr_batch.manifests.errors import OutputError
from asr_batch.manifests.replacing import replacing, sync

FOLDERS = ("windows", "transcripts")
"""In the order of renaming: a transcript is never visible before its windows."""

SWAP = ".swap.json"


def write_text(path: Path, text: str, *, durable: bool = True, alone: bool = False) -> None:
    """Replace the file at `path` atomically, as :func:`replacing` does."""
    with replacing(path, durable=durable, alone=alone) as hidden:
        hidden.write_text(text, encoding="utf-8")


def copy_file(source: Path, path: Path) -> None:
    """Replace the file at `path` with a copy of `source`, atomically."""
    with replacing(path) as hidden:
        shutil.copyfile(source, hidden)


@contextmanager
def output_errors(root: Path) -> Iterator[None]:
    """Turn OS errors while writing below `root` into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(_sentence(root, error)) from error
    except pa.ArrowException as error:
        raise OutputError(f"{root}: a part file cannot be read or written ({error})") from error


def _sentence(root: Path, error: OSError) -> str:
    again = "all committed rows are safe, and the same command resumes"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{root}: the disk is full; free some space: {again}"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{root}: cannot be written ({error.strerror}); make it writable: {again}"
    return f"{root}: writing failed ({error}); {again}"


def finish_swap(root: Path) -> bool:
    """Complete the exchange recorded in the journal, from any state; returns whether there was one."""
    journal = root / SWAP
    if not journal.exists():
        return False
    token = json.loads(journal.read_text(encoding="utf-8"))["token"]
    for folder in FOLDERS:
        new, current = root / f".{folder}.{token}", root / folder
        if (new / f".swap-{token}").exists():  # the new folder has the mark until it is swapped in
            _exchange(new, current)
    sync(root)
    for folder in FOLDERS:
        shutil.rmtree(root / f".{folder}.{token}", ignore_errors=True)
        (root / folder / f".swap-{token}").unlink(missing_ok=True)
    journal.unlink()
    sync(root)
    return True


def drop_unfinished(root: Path) -> None:
    """Remove folders of a merge without a journal."""
    for folder in FOLDERS:
        for left in root.glob(f".{folder}.*"):
            shutil.rmtree(left, ignore_errors=True)


def _exchange(new: Path, current: Path) -> None:
    """Swap two folders atomically, or in two steps if the system cannot (readers see no part in between)."""
    at_cwd, exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        done = libc.renameat2(at_cwd, os.fsencode(new), at_cwd, os.fsencode(current), exchange) == 0
    except AttributeError:
        done = False
    if not done:
        aside = current.with_name(f"{new.name}.old")
        if current.exists():
            current.rename(aside)
        new.rename(current)
        if aside.exists():
            aside.rename(new)
