"""Finds models that other programs have downloaded: the hub's cache and openai-whisper's.

faster-whisper and transformers keep downloads in the hub's cache, `models--OWNER--NAME/snapshots/COMMIT`
with links into `blobs` (https://huggingface.co/docs/huggingface_hub/guides/manage-cache); openai-whisper
has `SIZE.pt` in its own folder. Nothing there is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.environment import cache_folder, hub_cache
from asr_batch.models.store.aliases import SIZES
from asr_batch.models.store.catalogue import of_repository
from asr_batch.models.store.layout import kind_of
from asr_batch.models.store.record import model_files

_RUNS = ("ctranslate2", "whisper-source", "whisper-onnx", "qwen3-onnx", "bundle")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model of another program: `name` as in the catalogue, else `OWNER/NAME`; location of its files."""

    name: str
    kind: str
    repository: str
    revision: str
    path: Path

    @property
    def megabytes(self) -> float:
        """Total size of its files."""
        files = [self.path] if self.path.is_file() else [self.path / name for name in model_files(self.path)]
        return sum(path.stat().st_size for path in files) / 1e6


def found_models() -> list[FoundModel]:
    """Models in the caches of other programs that can be compiled or run, by name."""
    found = [*_hub_models(hub_cache()), *_openai_models(cache_folder() / "whisper")]
    return sorted(found, key=lambda model: (model.name, model.kind != "ctranslate2", model.repository))


def _hub_models(cache: Path) -> Iterator[FoundModel]:
    for folder in sorted(cache.glob("models--*--*")):
        snapshot = _snapshot(folder)
        kind = kind_of(model_files(snapshot)) if snapshot else None
        if snapshot is None or kind not in _RUNS:
            continue
        repository = folder.name.removeprefix("models--").replace("--", "/", 1)
        known = of_repository(repository)
        name = known.name if known else repository
        yield FoundModel(name, kind, repository, snapshot.name, snapshot)


def _snapshot(folder: Path) -> Path | None:
    """The snapshot that `refs/main` names, else the latest one."""
    main = folder / "refs" / "main"
    if main.is_file() and len(commit := main.read_text(errors="replace").strip()) < 100:
        named = folder / "snapshots" / commit
        if commit and named.is_dir():
            return named
    others = sorted((folder / "snapshots").glob("*/"), key=lambda path: path.stat().st_mtime)
    return others[-1] if others else None


def _openai_models(cache: Path) -> Iterator[FoundModel]:
    for path in sorted(cache.glob("*.pt")):
        if path.stem in SIZES:
            yield FoundModel(f"whisper-{path.stem}", "openai", "openai-whisper", path.stem, path)
