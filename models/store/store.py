"""The model store: resolving names, pulling, compiling, checking, removing.

A model is named by a path, by a name of the catalogue or its short form (`base`, `whisper-base`,
`base@REVISION`), or by a repository (`OWNER/NAME`). A stored model is one folder below the store's root.
It is renamed to its name when all its files are complete and verified, so an existing folder is always
usable. Weights are kept apart in `.weights`, and are compiled on arrival or when their bundle has an old
format.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.load import unknown_layout
from asr_batch.models.store.acquisition import Acquisition
from asr_batch.models.store.archive import export_model
from asr_batch.models.store.catalogue import KNOWN, KnownModel, find
from asr_batch.models.store.compiled import Say, compiled_by_content, is_source
from asr_batch.models.store.elsewhere import FoundModel, found_models
from asr_batch.models.store.layout import kind_of
from asr_batch.models.store.names import (
    BUNDLED,
    DEFAULT_ROOT,
    WEIGHTS,
    bundled_path,
    split_name,
)
from asr_batch.models.store.record import (
    Record,
    bundle_hashes,
    differences,
    hash_files,
    model_files,
    read_record,
)
from asr_batch.models.store.shelf import Shelf


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on this disk: `state` is `bundled` or `cached`, `megabytes` the size of all files."""

    name: str
    state: str
    path: Path
    megabytes: float
    record: Record | None


def _quiet(_message: str) -> None:
    """No-op."""


class Store:
    """The models below one root folder, and the bundled ones."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root if root is not None else DEFAULT_ROOT).expanduser()
        self._shelf = Shelf(self.root)

    def resolve(self, name_or_path: str | Path, *, source: bool = False) -> Path:
        """See :meth:`Shelf.resolve`."""
        return self._shelf.resolve(name_or_path, source=source)

    def look_up(self, name_or_path: str | Path) -> Path:
        """See :meth:`Shelf.look_up`."""
        return self._shelf.look_up(name_or_path)

    def weights(self, name: str) -> Path:
        """See :meth:`Shelf.weights`."""
        return self._shelf.weights(name)

    def pull(
        self, name: str, *, precision: str = "auto", origin: str | None = None, say: Say = _quiet
    ) -> Path:
        """See :meth:`Acquisition.pull`."""
        return Acquisition(self._shelf, say).pull(name, precision, origin)

    def take(self, name: str, source: Path, say: Say = _quiet) -> Path:
        """See :meth:`Acquisition.take`."""
        return Acquisition(self._shelf, say).take(name, source)

    def ensure(self, name_or_path: str | Path, say: Say = _quiet) -> Path:
        """A model that runs: weights at a path are compiled once, a missing known model is pulled.

        Models of other programs are used in place. Raises ModelError without network, with the commands
        for another machine.
        """
        path, name = Path(name_or_path).expanduser(), str(name_or_path)
        if is_source(path):
            return compiled_by_content(self.root, path, "auto", say)
        if path.exists() or self._shelf.cached(name):
            return _known(self.resolve(name))
        if self.weights(name).is_dir() or self._shelf.found(name) or find(name.partition("@")[0]):
            return self.pull(name, say=say)
        raise self._shelf.missing(name)

    def at_hand(self, name_or_path: str | None) -> Path | None:
        """The model of `ensure`, or of `default` without a name, if nothing is pulled or compiled for it.

        Raises ModelError.
        """
        if name_or_path is None:
            return self.default()
        path = Path(name_or_path).expanduser()
        here = not is_source(path) and (path.exists() or self._shelf.cached(name_or_path))
        return _known(self.resolve(name_or_path)) if here else None

    def default(self) -> Path:
        """The default model of `run`: the best real one in the store, else the bundled one.

        Bundles come before other layouts, then the model with most parameters, then the multilingual one.
        """
        real = [model for model in self.stored() if model.state == "cached" and _rank(model)[0]]
        return max(real, key=_rank).path if real else self.resolve(BUNDLED[0])

    def export(self, name: str, archive: Path) -> None:
        """Write a stored model to a tar for a machine without network."""
        export_model(self.look_up(name), archive)

    def verify(self, name: str) -> list[str]:
        """Compare every file of a model and of its weights with its recorded hash; returns the problems.

        Raises ModelError if the model is missing or has no record.
        """
        folders = [self.look_up(name)]
        if not Path(name).is_dir() and (weights := self.weights(name)).is_dir():
            folders.append(weights)
        return [problem for folder in folders for problem in _problems(folder)]

    def remove(self, name: str) -> Path:
        """Delete a stored model and its weights; raises ModelError for a bundled or missing one."""
        if bundled_path(name):
            raise ModelError(f"{name}: comes with the package and cannot be removed")
        folder, weights = self._shelf.folder(name), self.weights(name)
        if not folder.is_dir() and not weights.is_dir():
            raise ModelError(f"{name}: not in the store {self.root}")
        for path in (folder, weights):
            shutil.rmtree(path, ignore_errors=True)
        return folder

    def stored(self) -> list[StoredModel]:
        """The bundled and stored models, including those with weights only, sorted by name."""
        found = [self._describe(name, "bundled", path) for name in BUNDLED if (path := bundled_path(name))]
        folders = {path.name: path for path in _folders(self.root / WEIGHTS)}
        folders |= {path.name: path for path in _folders(self.root)}
        return found + [self._describe(name, "cached", path) for name, path in sorted(folders.items())]

    def elsewhere(self) -> list[FoundModel]:
        """Models of other programs on this machine."""
        return found_models()

    def _describe(self, name: str, state: str, path: Path) -> StoredModel:
        size = sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
        record = read_record(path)
        return StoredModel(record.name if record else name, state, path, size / 1e6, record)

    def known(self) -> list[KnownModel]:
        """The models of the catalogue that are neither in the store nor in another program's cache."""
        here = {model.name for model in self.stored()} | {model.name for model in self.elsewhere()}
        return [model for model in KNOWN if model.name not in here]


def _known(folder: Path) -> Path:
    """The folder, if its layout is known; so no other one is read, or sent to a worker. Raises ModelError."""
    if kind_of(model_files(folder)) is None:
        raise unknown_layout(folder)
    return folder


def _problems(folder: Path) -> list[str]:
    record = read_record(folder)
    expected = record.files if record else bundle_hashes(folder)
    if not expected:
        raise ModelError(f"{folder}: no hashes are recorded, so its files cannot be compared")
    found = hash_files(folder)
    extra = [f"{file}: not in the record" for file in found if record and file not in expected]
    return differences(expected, found) + extra


def _folders(root: Path) -> list[Path]:
    entries = root.iterdir() if root.is_dir() else ()
    return [path for path in entries if path.is_dir() and not path.name.startswith(".")]


def _rank(model: StoredModel) -> tuple[int, float, bool]:
    """Preference of a model: its layout (0: does not run), its size, whether it is multilingual."""
    kind = kind_of(model_files(model.path)) or ""
    known = find(split_name(model.name)[0])
    size = float(known.parameters) if known else model.megabytes
    layout = {"bundle": 3, "whisper-onnx": 2, "qwen3-onnx": 1}.get(kind, 0)
    return layout, size, not (known and known.languages == "English")
