"""What the benchmarks are given: manifests and folders. A wrong one is a sentence, not a traceback."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

from asr_batch.manifests.errors import AsrBatchError


def an_existing_folder(given: str) -> Path:
    """The type of an option that names an existing folder."""
    path = Path(given)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{given}: no such folder")
    return path


def an_existing_file(given: str) -> Path:
    """The type of an option that names an existing file."""
    path = Path(given)
    if not path.is_file():
        what = "a folder; expected a file, such as its manifest.csv" if path.is_dir() else "no such file"
        raise argparse.ArgumentTypeError(f"{given}: {what}")
    return path


def read_manifest(manifest: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV, which has at least `columns`; ends the program if it is another file."""
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            found = csv.DictReader(stream)
            rows, names = list(found), found.fieldnames or []
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{manifest}: cannot be read as a CSV manifest: {error}") from error
    if missing := [column for column in columns if column not in names]:
        raise SystemExit(f"{manifest}: no column {missing[0]}; expected a CSV with {', '.join(columns)}")
    if not rows:
        raise SystemExit(f"{manifest}: no rows below the header")
    return rows


def start(main: Callable[[], None]) -> None:
    """Run a benchmark; an error of the product, such as a model that cannot be used, is one sentence."""
    try:
        main()
    except AsrBatchError as error:
        raise SystemExit(str(error)) from error
