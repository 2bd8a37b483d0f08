"""The store's record of a model: its source, the SHA-256 of every file, and the check against them.

There are two records. `.store.json` is in each model folder and moves with it (also to a machine without
network). `lock.json` is in the store's root and survives `remove`: a known revision must always give the
same bytes. A compiled bundle lists its own hashes in `bundle.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import ModelError
from asr_batch.manifests.replacing import replacing
from asr_batch.models.onnx.safety import safe_name

RECORD = ".store.json"
LOCK = "lock.json"
BUNDLE_FILE = "bundle.json"
PACKAGED: Mapping[str, Mapping[str, str]] = {}
"""Hashes shipped with the package, `REPOSITORY@COMMIT` to file to SHA-256. Empty so far, because it was
written without network. They take precedence over what a store has recorded.
"""
_CHUNK = 1 << 20
_LEVELS = 2
_MAX_RECORD = 4 << 20  # bytes; a record has about a hundred bytes per file


@dataclass(frozen=True, slots=True)
class Record:
    """Source and files of a stored model (`files`: relative name to SHA-256)."""

    name: str
    source: str
    revision: str
    kind: str
    pulled_at: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def lock_key(self) -> str:
        """Key of the locked hashes: source and revision."""
        return f"{self.source}@{self.revision}"


def now() -> str:
    """The current time for a record, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def model_files(folder: Path) -> list[str]:
    """Relative names of all files of a model folder, sorted, without the record and hidden folders.

    No layout has more than `_LEVELS` levels of folders, so a folder that is no model, such as a home folder,
    is not searched to its end; what cannot be read there, or vanishes meanwhile, is left out.
    """
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        below = Path(place).relative_to(folder)
        deep = len(below.parts) >= _LEVELS
        folders[:] = [] if deep else [name for name in folders if not name.startswith(".")]
        found += [(below / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(name for name in found if (folder / name).is_file())


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a model folder."""
    return {name: sha256_of(folder / safe_name(name)) for name in model_files(folder)}


def read_json(path: Path) -> Any:
    """Read a small JSON file; raises ModelError if it is too large or invalid."""
    try:
        if path.stat().st_size > _MAX_RECORD:
            raise ModelError(f"{path}: larger than {_MAX_RECORD} bytes; expected a small JSON file")
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: broken JSON ({error})") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error


def write_record(folder: Path, record: Record) -> None:
    """Write the record to its model folder."""
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record | None:
    """The record of a model folder; None without one; raises ModelError if it is invalid."""
    path = folder / RECORD
    if not path.is_file():
        return None
    raw = read_json(path)
    try:
        hashes = {str(name): str(value) for name, value in raw.pop("files").items()}
        return Record(**{key: str(value) for key, value in raw.items()}, files=hashes)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not a record of the store ({error})") from error


def bundle_hashes(folder: Path) -> dict[str, str]:
    """Hashes in the `bundle.json` of a compiled bundle; {} without one."""
    path = folder / BUNDLE_FILE
    if not path.is_file():
        return {}
    try:
        made = {str(name): str(about["sha256"]) for name, about in read_json(path)["files"].items()}
        return made | {str(one["file"]): str(one["sha256"]) for one in read_json(path).get("npu", [])}
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: lists no hashes of its files ({error})") from error


def locked_hashes(root: Path, key: str) -> dict[str, str]:
    """Hashes that must match for `key`, from this store or the package."""
    path = root / LOCK
    seen: dict[str, str] = read_json(path).get(key, {}) if path.is_file() else {}
    return {**seen, **PACKAGED.get(key, {})}


def lock_hashes(root: Path, key: str, hashes: Mapping[str, str]) -> None:
    """Record the hashes of `key` (known files keep their entry)."""
    path = root / LOCK
    table = read_json(path) if path.is_file() else {}
    table[key] = {**hashes, **table.get(key, {})}
    with replacing(path) as draft:
        draft.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One sentence for each file that is missing or differs."""
    problems = []
    for name, value in expected.items():
        if name not in found:
            problems.append(f"{name}: missing")
        elif found[name] != value:
            problems.append(f"{name}: sha256 {found[name][:12]}… found, {value[:12]}… expected")
    return problems
