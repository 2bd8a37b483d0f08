"""Builds the manifest when `run` is given audio files, folders and globs instead of one.

A row's id is the file's path below the given folder, without its extension, so it does not depend on the
other arguments. Ids in an earlier manifest of the same output folder are kept.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from glob import has_magic
from itertools import count
from pathlib import Path

from asr_batch.manifests.build import Row, Target, encode, find_below, is_audio_name, shown
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.location import Base, is_remote, plain_path, printable
from asr_batch.manifests.reader import ENDINGS, SPREADSHEETS, Manifest, open_manifest

FILE = "manifest.csv"
HEAD_BYTES = 4096


def is_manifest(argument: str) -> bool:
    """Whether an argument of `run` is a manifest rather than audio, by extension or else by content."""
    path = Path(argument)
    if argument == "-" or is_remote(argument):
        return not is_audio_name(argument.partition("?")[0])
    if path.is_dir() or is_audio_name(argument):
        return False
    stem = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    if stem.suffix.lower() in (*ENDINGS, *SPREADSHEETS):
        return not has_magic(argument) or path.exists()
    return _reads_as_manifest(path) if path.is_file() else not has_magic(argument)


def _reads_as_manifest(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return True  # the manifest reader reports the error
    return head.startswith((b"PAR1", b"\x1f\x8b")) or b"\0" not in head


def one_manifest(arguments: Sequence[str]) -> str | None:
    """The manifest among the arguments of `run`, or None if they are audio.

    Raises ConfigError for a manifest together with anything else.
    """
    manifests = [argument for argument in arguments if is_manifest(argument)]
    if not manifests:
        return None
    if len(arguments) > 1:
        raise ConfigError(
            f"{manifests[0]} is a manifest and cannot be combined with other sources; "
            "expected one manifest, or audio files, folders and globs"
        )
    return manifests[0]


def open_sources(arguments: Sequence[str], folder: Path, spool: Path) -> Manifest:
    """Open the manifest among the arguments of `run`, or write one for the audio they name to `spool`.

    Raises ConfigError.
    """
    name = one_manifest(arguments)
    if name is not None:
        return open_manifest(name, spool)
    return made_manifest(manifest_of(arguments, folder), folder, spool)


def manifest_of(sources: Sequence[str], folder: Path) -> bytes:
    """The CSV manifest of audio sources, for `folder`. Raises ConfigError when nothing is found."""
    remote = dict.fromkeys(source for source in sources if is_remote(source))
    paths = [plain_path(source) for source in sources if source not in remote]
    found = find_below(paths) if paths else {}
    base = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are named
    known = {location: row["id"] for location, row in _rows_there(folder).items()}
    ids = _ids(found, {os.fspath(file): known[os.fspath(file)] for file in found if os.fspath(file) in known})
    lines: list[Row] = [{"id": ids[file], "audio": shown(file, base)} for file in found]
    taken = set(ids.values())
    for url in remote:
        name = _free(_remote_names(url), taken)
        taken.add(name)
        lines.append({"id": name, "audio": url})
    return encode(lines, Target(None, "csv", zipped=False))


def grown_manifest(found: Mapping[Path, Path], folder: Path) -> bytes:
    """The manifest in `folder`, with rows appended for the files that it lacks.

    `found` maps each file to the folder it was found below.
    """
    there, base = _rows_there(folder), Path(os.path.abspath(folder))  # noqa: PTH100
    ids = _ids(found, {location: row["id"] for location, row in there.items()})
    fresh = [file for file in found if os.fspath(file) not in there]
    added: list[Row] = [{"id": ids[file], "audio": shown(file, base)} for file in fresh]
    return encode([*there.values(), *added], Target(None, "csv", zipped=False))


def made_manifest(data: bytes, folder: Path, spool: Path) -> Manifest:
    """A manifest that belongs in `folder`, written to `spool` for now."""
    spool.write_bytes(data)
    return Manifest(str(folder / FILE), spool, Base(os.path.abspath(folder)), "csv")  # noqa: PTH100


def _rows_there(folder: Path) -> dict[str, Row]:
    """Rows by location, from the manifest that an earlier run left in `folder`."""
    try:
        with (folder / FILE).open(encoding="utf-8", newline="") as stream:
            rows = [{"id": row["id"], "audio": row["audio"]} for row in csv.DictReader(stream)]
    except (OSError, UnicodeError, csv.Error, KeyError):
        return {}
    base = Base(os.path.abspath(folder))  # noqa: PTH100
    return {base.locate(row["audio"]) or "": row for row in rows}


def _ids(found: Mapping[Path, Path], known: Mapping[str, str]) -> dict[Path, str]:
    """The id of every file; `known` are those given before, by location."""
    kept = {file: known[os.fspath(file)] for file in found if os.fspath(file) in known}
    holders = {row_id: Path(location) for location, row_id in known.items()}
    for file, base in found.items():
        if file not in kept:
            name = _free(_names(file, base, holders), holders)
            holders[name] = file
            kept[file] = name
    return kept


def _names(file: Path, base: Path, holders: Mapping[str, Path]) -> Iterator[str]:
    """Candidate ids of a file, best first: its path below `base`, then with more and more parent folders."""
    path = file.relative_to(base)
    plain = printable(os.fspath(path.with_suffix("")))
    yield plain
    if plain in holders and holders[plain].parent == file.parent:
        yield printable(os.fspath(path))  # two files that differ only in their extension
    for above in range(1, len(base.parts)):
        longer = Path(*base.parts[-above:], path) if above < len(base.parts) else file
        yield printable(os.fspath(longer.with_suffix("")))
    yield from (f"{plain}-{number}" for number in count(2))


def _remote_names(url: str) -> Iterator[str]:
    name = Path(url.partition("?")[0].rstrip("/")).stem
    yield name
    yield url
    yield from (f"{name}-{number}" for number in count(2))


def _free(names: Iterator[str], taken: Mapping[str, Path] | set[str]) -> str:
    return next(name for name in names if name and name not in taken)
