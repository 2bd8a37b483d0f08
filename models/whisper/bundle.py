"""Reads `bundle.json`, which describes a compiled model and lists its files with hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.whisper.config import read_json

FORMATS = frozenset({3})
"""Versions of the bundle layout that this program reads."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The content of `bundle.json`.

    `window`: default length of a window in seconds; `sha256` covers the hashes of all files that affect the
    text.
    """

    folder: Path
    window: float
    precision: str
    sha256: str


def read_bundle(folder: Path) -> Bundle:
    """Read `folder`/bundle.json and check names and sizes of its files; `models verify` also checks hashes.

    Raises ModelError.
    """
    path = folder / "bundle.json"
    content = read_json(path)
    if content.get("family") != "whisper" or content.get("format") not in FORMATS:
        raise ModelError(
            f"{path}: a bundle of family {content.get('family')!r}, format {content.get('format')!r}; "
            f"expected whisper, format {', '.join(map(str, sorted(FORMATS)))}: compile the model again with "
            f"`asr-batch models compile SRC DST --precision {content.get('precision', 'int8')}`"
        )
    files = content.get("files")
    if not isinstance(files, dict):
        raise ModelError(f"{path}: has no list of files; compile the model again")
    for name, about in files.items():
        _check_file(folder, path, str(name), about)
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name} {files[name]['sha256']}\n".encode())
    try:
        return Bundle(
            folder,
            float(content["window"]),
            str(content["precision"]),
            total.hexdigest(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: incomplete ({error}); compile the model again") from error


def _check_file(folder: Path, path: Path, name: str, about: object) -> None:
    if Path(name).name != name:
        raise ModelError(f"{path}: {name!r} is not a file name inside the bundle")
    if not isinstance(about, dict) or "sha256" not in about or "size" not in about:
        raise ModelError(f"{path}: size and sha256 of {name} are missing")
    file = folder / name
    if not file.is_file():
        raise ModelError(f"{file}: missing; {path.name} lists it")
    if file.stat().st_size != about["size"]:
        raise ModelError(f"{file}: {file.stat().st_size} bytes; expected {about['size']}, by {path.name}")
