"""Bringing a model into the store: from the hub, or from a folder or tar. It appears whole or not at all.

Files are gathered in `.partial/NAME`, compared with every hash that is known for them, and the folder is
then renamed to its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store import hub as store_hub
from asr_batch.models.store.archive import import_model
from asr_batch.models.store.errors import check_room, disk_errors
from asr_batch.models.store.layout import kind_of, wanted
from asr_batch.models.store.names import folder_name
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

Say = Callable[[str], None]
IMPORTED = "imported"
"""Revision of a model that came without a record."""


def pull_from_hub(
    root: Path,
    name: str,
    repository: str,
    *,
    kind: str | None,
    revision: str | None,
    precision: str,
    say: Say,
) -> Path:
    """Download the files that the model needs and keep them as `name`; returns the folder.

    Raises ModelError; what arrived stays in `.partial`, and the same call goes on from there.
    """
    model = store_hub.listing(repository, revision)
    names = [file.name for file in model.files]
    kind = kind or kind_of(names)
    if kind is None:
        raise ModelError(f"{repository}: no layout that asr-batch knows (found {', '.join(names[:12])})")
    chosen = set(wanted(kind, names, precision))
    parts = [file for file in model.files if file.name in chosen]
    staging = _staging(root, name)
    _forget_others(staging, chosen)
    needed = sum(file.size or 0 for file in parts)
    say(f"{name}: {len(parts)} files, {needed / 1e6:.1f} MB from {repository} at {model.revision[:12]}")
    check_room(staging, needed - sum(path.stat().st_size for path in staging.rglob("*") if path.is_file()))
    for part in parts:
        store_hub.fetch(model, part, staging)
    return _accept(root, staging, Record(name, repository, model.revision, kind, now()))


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
        return _accept(root, staging, Record(name, *origin, kind, now()), came)
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


def _accept(root: Path, staging: Path, record: Record, came: Record | None = None) -> Path:
    """Compare with all known hashes, write the record, and let the model appear under its name."""
    hashes = hash_files(staging)
    pinned = record.revision != IMPORTED
    locked = locked_hashes(root, record.lock_key) if pinned else {}
    expected = {name: value for name, value in locked.items() if name in hashes} | (
        came.files if came else {}
    )
    if problems := differences(expected, hashes):
        shutil.rmtree(staging)
        raise ModelError(f"{record.name}: not the bytes that were recorded for it: {'; '.join(problems)}")
    with disk_errors(str(root)):
        write_record(staging, replace(record, files=hashes))
        if pinned:
            lock_hashes(root, record.lock_key, hashes)
        target = root / folder_name(record.name)
        staging.rename(target)
    return target
