"""Builds a manifest from folders, files and globs: stable order, unique ids, relative paths."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from asr_batch.manifests.errors import ConfigError, ItemError

ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *(
            "wav",
            "wave",
            "flac",
            "mp3",
            "ogg",
            "oga",
            "opus",
            "m4a",
            "aac",
            "mp4",
            "m4v",
            "mov",
            "mkv",
            "mka",
        ),
        *("webm", "avi", "aif", "aiff", "aifc", "au", "snd", "caf", "wma", "amr", "3gp", "w64", "rf64"),
        *("mpga", "mpeg", "ac3", "mp2", "ts", "mts", "flv", "wmv", "wv", "tta", "ape", "spx"),
        *("g722", "gsm", "al", "alaw", "ul", "ulaw", "sln", "dss"),
    )
)
"""Extensions that count as audio in a folder; a file given on the command line may have any."""

Form = Literal["csv", "tsv", "jsonl", "parquet", "txt"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the manifest is written; `path` None is standard output (CSV)."""

    path: Path | None
    form: Form
    zipped: bool

    @classmethod
    def of(cls, name: str) -> Target:
        """The target that `name` describes. Raises ConfigError for an unknown extension."""
        if name == "-":
            return cls(None, "csv", False)
        stem = name[:-3] if name.endswith(".gz") else name
        for form in ("csv", "tsv", "jsonl", "parquet", "txt"):
            if stem.lower().endswith(f".{form}"):
                return cls(Path(name), form, stem != name)
        endings = ".csv, .tsv, .jsonl, .parquet or .txt"
        raise ConfigError(f"--to {name}: unknown format; expected {endings}, each optionally with .gz")


def find(paths: Sequence[str], *, hidden: bool = False) -> list[Path]:
    """Audio files in folders (searched recursively), globs and files, each once, sorted by path.

    Raises ConfigError when a path does not exist or nothing is found.
    """
    return list(find_below(paths, hidden=hidden))


def find_below(paths: Sequence[str], *, hidden: bool = False) -> dict[Path, Path]:
    """The same, each with the folder it was found below (the first, if there are several)."""
    found: dict[Path, Path] = {}
    for given in paths:
        for path, base in _expand(given, hidden):
            found.setdefault(_absolute(path), _absolute(base))
    if not found:
        raise ConfigError(f"no audio files in {', '.join(paths)}; expected files such as .wav, .flac or .mp3")
    return {file: found[file] for file in sorted(found, key=os.fsencode)}


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named


def _expand(given: str, hidden: bool) -> Iterator[tuple[str, str]]:
    """The files that one argument names, each with the folder it was found below."""
    if os.path.lexists(given) or not has_magic(given):
        base = given if Path(given).is_dir() else os.path.dirname(given) or "."  # noqa: PTH120
        yield from ((path, base) for path in _walk(given, hidden))
        return
    matches = glob(given, recursive=True, include_hidden=hidden)  # noqa: PTH207 - absolute patterns
    if not matches:
        raise ConfigError(
            f"{given} matches nothing; expected folders, files or a pattern such as 'talks/**/*.wav'"
        )
    base = _fixed_part(given)
    ending = os.path.splitext(given)[1]  # noqa: PTH122
    anything = bool(ending) and not has_magic(ending)  # '*.bin' asks for just these files
    for match in matches:
        if Path(match).is_dir():
            yield from ((path, base) for path in _walk(match, hidden))
        elif anything or is_audio_name(match):
            yield match, base


def _fixed_part(pattern: str) -> str:
    """The folder before the first wildcard of a pattern."""
    fixed = list(takewhile(lambda part: not has_magic(part), Path(pattern).parts[:-1]))
    return os.path.join(*fixed) if fixed else "."  # noqa: PTH118


def _walk(given: str, hidden: bool) -> Iterator[str]:
    """A file itself, or the audio below a folder; links to folders are not followed (they may form loops).

    A folder that cannot be read is returned in place of its files, so that its row says so.
    """
    path = Path(given)
    if not path.exists():
        raise ConfigError(f"{given} does not exist; expected folders, files or globs of audio")
    if not path.is_dir():
        yield given
        return
    closed: list[str] = []
    for folder, below, names in os.walk(given, onerror=lambda error: closed.append(_closed(given, error))):
        below[:] = [name for name in below if hidden or not name.startswith(".")]
        for name in names:
            if is_audio_name(name) and (hidden or not name.startswith(".")):
                yield os.path.join(folder, name)  # noqa: PTH118 - many files
    yield from closed


def _closed(given: str, error: OSError) -> str:
    """The folder below `given` that cannot be read. Raises ConfigError if that is `given` itself."""
    if error.filename == given:
        raise ConfigError(f"{given} cannot be read: {error.strerror}; expected a folder that you may read")
    return str(error.filename)


def is_audio_name(name: str) -> bool:
    """Whether a name has the extension of an audio file."""
    return os.path.splitext(name)[1].lower() in ENDINGS  # noqa: PTH122 - many files


def rows(files: Sequence[Path], folder: Path | None) -> list[Row]:
    """Manifest rows; paths below `folder` become relative to it."""
    base = Path(os.path.abspath(folder)) if folder is not None else None  # noqa: PTH100
    paths = [_below(file, base) for file in files]
    ids = _ids(_printable(path.lstrip("/")) for path in paths)
    texts = [_shown(file, path) for file, path in zip(files, paths, strict=True)]
    return [{"id": row_id, "audio": audio} for row_id, audio in zip(ids, texts, strict=True)]


def shown(file: Path, base: Path) -> str:
    """A file as written in a manifest in `base`: relative if it is below `base`, else absolute."""
    return _shown(file, _below(file, base))


def _below(file: Path, base: Path | None) -> str:
    return os.fspath(file.relative_to(base) if base and file.is_relative_to(base) else file)


def _ids(paths: Iterable[str]) -> Iterator[str]:
    """Paths without their extension; with it, or with a number, if an earlier file has that id.

    An id depends only on the path and on files sorted before it, so most rows keep theirs (and their finished
    transcripts) when the folder grows.
    """
    seen: set[str] = set()
    for path in paths:
        numbered = (f"{path}-{number}" for number in count(2))
        choices = chain([os.path.splitext(path)[0], path], numbered)  # noqa: PTH122
        name = next(choice for choice in choices if choice not in seen)
        seen.add(name)
        yield name


def _shown(file: Path, text: str) -> str:
    """The path as written in the manifest; as a file:// URL when plain text cannot hold it safely."""
    if text.isprintable() and text == text.strip() and "://" not in text:
        return text
    return f"file://{quote(os.fsencode(file))}"


def _printable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def add_durations(lines: Iterable[Row], seconds_of: Callable[[Path], float]) -> int:
    """Set `duration` (seconds, None if unknown) in every row; returns how many rows lack it.

    `file` must hold the path; it is removed from the row. `seconds_of` returns the length of an audio file or
    raises ItemError.
    """
    missing = 0
    for line in lines:
        try:
            seconds = seconds_of(line.pop("file"))
        except ItemError:
            seconds = 0.0
        line["duration"] = round(seconds, 3) if seconds else None
        missing += not seconds
    return missing


def encode(lines: Sequence[Row], target: Target) -> bytes:
    """The manifest's bytes."""
    data = ENCODERS[target.form](lines)
    return gzip.compress(data, mtime=0) if target.zipped else data


def _separated(lines: Sequence[Row], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(lines[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().encode()


def _jsonl(lines: Sequence[Row]) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _txt(lines: Sequence[Row]) -> bytes:
    return "".join(f"{line['audio']}\n" for line in lines).encode()


def _parquet(lines: Sequence[Row]) -> bytes:
    import pyarrow as pa  # for Parquet manifests only
    import pyarrow.parquet as pq

    out = io.BytesIO()
    kinds = {"id": pa.string(), "audio": pa.string(), "duration": pa.float64()}
    schema = pa.schema([(name, kinds[name]) for name in lines[0]])
    pq.write_table(pa.Table.from_pylist(list(lines), schema=schema), out, compression="zstd")
    return out.getvalue()


ENCODERS: dict[Form, Callable[[Sequence[Row]], bytes]] = {
    "csv": lambda lines: _separated(lines, ","),
    "tsv": lambda lines: _separated(lines, "\t"),
    "jsonl": _jsonl,
    "parquet": _parquet,
    "txt": _txt,
}
