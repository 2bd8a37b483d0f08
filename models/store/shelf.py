"""Finds models by name: below a store's root, in this package, in the caches of other programs."""

from __future__ import annotations

from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store.aliases import canonical
from asr_batch.models.store.catalogue import SOURCES, find, unknown
from asr_batch.models.store.compiled import is_current, is_source
from asr_batch.models.store.elsewhere import FoundModel, found_models
from asr_batch.models.store.names import BUNDLED, WEIGHTS, bundled_path, folder_name, split_name
from asr_batch.models.store.record import BUNDLE_FILE


class Shelf:
    """Read-only access to model folders, without network."""

    def __init__(self, root: Path) -> None:
        self.root = root

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
        return None if outdated and self.weights_of(name) else folder

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
        if source and (weights := self.weights_of(name)):
            return weights
        if folder := self.cached(name):
            return folder
        raise self.missing(name)

    def look_up(self, name_or_path: str | Path) -> Path:
        """A model that runs, else its weights. Raises ModelError."""
        try:
            return self.resolve(name_or_path)
        except ModelError:
            if weights := self.weights_of(str(name_or_path)):
                return weights
            raise

    def weights_of(self, name: str) -> Path | None:
        """Weights of that name in the store or in another program's cache."""
        if (kept := self.weights(name)).is_dir():
            return kept
        found = self.found(name)
        return found.path if found and found.kind in SOURCES else None

    def found(self, name: str) -> FoundModel | None:
        """The model of that name in another program's cache, or None."""
        wanted = canonical(name)
        return next((model for model in found_models() if wanted in (model.name, model.repository)), None)

    def missing(self, name: str) -> ModelError:
        """The error for a missing model, with the command that gets it."""
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
