"""The model store: names to folders, pulling, checking, removing.

A model is named by a path, by a name of the catalogue (`whisper-tiny`, `whisper-tiny@REVISION`) or by a
repository (`OWNER/NAME`). A stored model is one folder below the store's root; it appears there by a rename
when all its files are complete and verified, so a folder that exists can be used.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store.archive import export_model
from asr_batch.models.store.catalogue import KNOWN, KnownModel, find, unknown
from asr_batch.models.store.errors import HubUnreachableError
from asr_batch.models.store.layout import has_precision
from asr_batch.models.store.names import BUNDLED, DEFAULT_ROOT, bundled_path, folder_name, split_name
from asr_batch.models.store.pull import Say, pull_from_hub, take_from_disk
from asr_batch.models.store.record import (
    Record,
    bundle_hashes,
    differences,
    hash_files,
    model_files,
    read_record,
)

PREFERRED = "whisper-tiny"
"""The model that `run` takes by default once it has been pulled; else the first bundled one."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on this disk: `state` is `bundled` or `cached`, `megabytes` of all its files."""

    name: str
    state: str
    path: Path
    megabytes: float
    record: Record | None


def _quiet(_message: str) -> None:
    """Say nothing."""


class Store:
    """The models below one root folder, and the bundled ones."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root if root is not None else DEFAULT_ROOT).expanduser()

    def folder(self, name: str) -> Path:
        """Where a model of this name is or would be kept."""
        return self.root / folder_name(name)

    def cached(self, name: str) -> Path | None:
        """The folder of a bundled or stored model, or None."""
        if bundled := bundled_path(name):
            return bundled
        folder = self.folder(name)
        return folder if folder.is_dir() else None

    def resolve(self, name_or_path: str | Path, *, source: bool = False) -> Path:
        """The folder of a model: a path that exists wins, then bundled, then stored names.

        `source`: weights to compile are wanted; else naming them is an error. Touches no network. Raises
        ModelError with the command that gets the model.
        """
        name = str(name_or_path)
        if Path(name).expanduser().is_dir():
            return Path(name).expanduser()
        if Path(name).is_file():
            raise ModelError(f"{name}: a file; expected the folder of a model, or a name")
        self._must_be_runnable(name, source)
        if folder := self.cached(name):
            return folder
        raise self._not_here(name)

    def _must_be_runnable(self, name: str, source: bool) -> None:
        base, _ = split_name(name)
        known = find(base)
        if known and known.kind == "whisper-source" and not source:
            raise ModelError(
                f"{name} holds weights, not a model that runs; "
                f"`asr-batch models compile {name} FOLDER` makes one"
            )

    def _not_here(self, name: str) -> ModelError:
        base, _ = split_name(name)
        if base in BUNDLED:
            return ModelError(f"{name}: missing from this installation; install asr-batch again")
        if "/" in base:
            return ModelError(
                f"{name}: no such folder, and no repository of that name is in the store {self.root}; if you "
                f"mean one, get it with `asr-batch models pull {name}`"
            )
        if find(base) is None:
            return unknown(name, BUNDLED)
        return ModelError(
            f"{name} is not in the store {self.root}; get it with `asr-batch models pull {name}`"
        )

    def ensure(self, name_or_path: str | Path, say: Say = _quiet) -> Path:
        """Like `resolve`, but pulls a model of the catalogue that is not here yet.

        Raises ModelError without network, with the commands for another machine.
        """
        name = str(name_or_path)
        try:
            return self.resolve(name)
        except ModelError:
            known = find(name.partition("@")[0])
            if known is None or known.kind == "whisper-source":
                raise
        return self.pull(name, say=say)

    def default(self) -> Path:
        """The model that `run` uses when none is named: whisper-tiny once pulled, else the bundled one."""
        return self.cached(PREFERRED) or self.resolve(BUNDLED[0])

    def pull(self, name: str, *, precision: str = "auto", say: Say = _quiet) -> Path:
        """Download a model, verify every file, keep it; returns its folder (at once when it is here).

        Raises ModelError: unknown name, no network (with the commands for another machine), wrong bytes,
        full disk. What arrived stays; the same call goes on from there.
        """
        base, revision = split_name(name)
        if folder := self.cached(name):
            return self._in_precision(name, folder, precision)
        known = find(base)
        if known is None and "/" not in base:
            raise unknown(name, BUNDLED)
        try:
            return pull_from_hub(
                self.root,
                name,
                known.repository if known else base,
                kind=known.kind if known else None,
                revision=revision,
                precision=precision,
                say=say,
            )
        except HubUnreachableError as error:
            raise ModelError(f"{error}. {self._elsewhere(name)}") from error

    def _in_precision(self, name: str, folder: Path, precision: str) -> Path:
        if has_precision(model_files(folder), precision):
            return folder
        raise ModelError(
            f"{name} is here, but not in {precision}; `asr-batch models remove {name}` first, then pull again"
        )

    def _elsewhere(self, name: str) -> str:
        tar = f"{self.folder(name).name}.tar"
        return (
            f"On a machine with network: `asr-batch models pull {name} --to {tar}`; "
            f"then here: `asr-batch models pull {name} --from {tar}`"
        )

    def take(self, name: str, source: Path, say: Say = _quiet) -> Path:
        """Take a model in from a folder or a tar, without network; hashes it came with must hold.

        Raises ModelError: unsafe or broken archive, no known layout, wrong bytes, name already in use.
        """
        if self.cached(name):
            raise ModelError(f"{name}: is here already; `asr-batch models remove {name}` first")
        folder = take_from_disk(self.root, name, source)
        say(f"{name}: {len(model_files(folder))} files taken in from {source}")
        return folder

    def export(self, name: str, archive: Path) -> None:
        """Write a stored model into a tar for a machine without network."""
        export_model(self.resolve(name, source=True), archive)

    def verify(self, name: str) -> list[str]:
        """Compare every file with the hash recorded for it; returns the problems ([]: all is well).

        Raises ModelError when the model is not here or has no record to compare with.
        """
        folder = self.resolve(name, source=True)
        record = read_record(folder)
        expected = record.files if record else bundle_hashes(folder)
        if not expected:
            raise ModelError(f"{name}: no hashes are recorded for it, so there is nothing to compare with")
        found = hash_files(folder)
        extra = [f"{file}: not in the record" for file in found if record and file not in expected]
        return differences(expected, found) + extra

    def remove(self, name: str) -> Path:
        """Delete a stored model; raises ModelError for a bundled or absent one."""
        if bundled_path(name):
            raise ModelError(f"{name}: comes with the package and cannot be removed")
        folder = self.folder(name)
        if not folder.is_dir():
            raise ModelError(f"{name}: not in the store {self.root}")
        shutil.rmtree(folder)
        return folder

    def stored(self) -> list[StoredModel]:
        """The bundled and the cached models, sorted by name."""
        found = [self._describe(name, "bundled", path) for name in BUNDLED if (path := bundled_path(name))]
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        found += [
            self._describe(folder.name, "cached", folder)
            for folder in folders
            if folder.is_dir() and not folder.name.startswith(".")
        ]
        return found

    def _describe(self, name: str, state: str, path: Path) -> StoredModel:
        size = sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
        record = read_record(path)
        return StoredModel(record.name if record else name, state, path, size / 1e6, record)

    def known(self) -> list[KnownModel]:
        """The models of the catalogue that are not here yet."""
        here = {model.name for model in self.stored()}
        return [model for model in KNOWN if model.name not in here]


def resolve(name_or_path: str | Path, root: str | Path | None = None) -> Path:
    """The folder of a model, without network; see :meth:`Store.resolve`."""
    return Store(root).resolve(name_or_path)


def ensure(name_or_path: str | Path, root: str | Path | None = None, say: Say = _quiet) -> Path:
    """The folder of a model, pulled when it is not here; see :meth:`Store.ensure`."""
    return Store(root).ensure(name_or_path, say)


def default_model(root: str | Path | None = None) -> Path:
    """The folder of the model that `run` uses when none is named; see :meth:`Store.default`."""
    return Store(root).default()
