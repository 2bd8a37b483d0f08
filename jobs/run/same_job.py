"""Keeps an output folder to one job: its model, settings and manifest, unless `--redo` is given.

Settings that the command does not name come from job.json. If the command names a different model, setting
or manifest, the run stops before any work. A manifest with the path of the previous one is the same, even
if all its rows are new. Rows of an earlier model stay readable until each is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from asr_batch.jobs.config.fingerprint import LOAD_SETTINGS, Settings
from asr_batch.jobs.config.keys import KEYS, RunConfig
from asr_batch.jobs.config.values import check_value
from asr_batch.jobs.dataset.index import Index
from asr_batch.jobs.dataset.job_file import Job, absolute_sources, origin_of
from asr_batch.jobs.dataset.parts import part_names
from asr_batch.jobs.dataset.reading import stream
from asr_batch.jobs.dataset.tables import open_transcripts
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.reader import Manifest
from asr_batch.manifests.survey import Survey
from asr_batch.models.recognizer import ModelInfo
from asr_batch.pipeline.options import PipelineOptions

COMPARED = 40
"""Rows at the top of the manifest whose file names are compared with the folder's rows of the same ids."""

SETTINGS = (*LOAD_SETTINGS, "second_model", *(entry.name for entry in fields(PipelineOptions)))


def own_settings(config: RunConfig, job: Job | None) -> RunConfig:
    """The settings, with the folder's own model and settings where the command names none.

    Raises ConfigError for an invalid job.json.
    """
    if job is None:
        return config
    options = job.options
    kept = {
        name: check_value(name, options[name], "job.json")
        for name in SETTINGS
        if name in KEYS and name in options and name not in config.named
    }
    if config.model is None and job.model.path:
        kept["model"] = job.model.path
    return replace(config, **kept)


class SameJob:
    """Compares the command's job with the job of the folder `root`."""

    def __init__(self, root: Path, config: RunConfig, job: Job) -> None:
        self._root, self._config, self._job = root, config, job

    def check(self, model: ModelInfo, settings: Settings, manifest: Manifest | None, found: Survey) -> None:
        """Raise ConfigError for another job. `manifest` None: do not compare the manifest."""
        if self._config.redo or not part_names(self._root):
            return
        difference = self._model(model) or self._settings(settings)
        if difference is None and manifest is not None:
            difference = self._manifest(manifest, found)
        if difference is not None:
            raise ConfigError(
                f"{self._root}: {difference}; choose another --out, or use --redo to continue here: each row "
                "is kept until its new transcript replaces it"
            )

    def _model(self, model: ModelInfo) -> str | None:
        before = self._job.model
        if before.sha256 == model.sha256:
            return None
        mine, its = model.name, before.name
        if mine == its:
            mine, its = f"{mine} ({model.sha256[:8]})", f"{its} ({before.sha256[:8]})"
        return f"belongs to a job with the model {its}, not {mine}"

    def _settings(self, settings: Settings) -> str | None:
        before = self._job.settings
        told = {name: value for name, value in settings.base.items() if name in self._config.named}
        for name, value in told.items():
            if name in before and _plain(before[name]) != _plain(value):
                return f"belongs to a job {_told(name, before[name])}, not {_told(name, value)}"
        return None

    def _manifest(self, manifest: Manifest, found: Survey) -> str | None:
        before = self._job.manifest
        if before.sha256 == found.sha256 or self._from_same_place(manifest):
            return None
        if self._related(manifest, found):
            return None
        its, mine = (
            f"the sources {', '.join(sources)}" if sources else f"the manifest {name}"
            for sources, name in ((before.sources, before.name), (self._config.sources, manifest.name))
        )
        if mine == its:
            return f"belongs to a job with other rows of {manifest.name}"
        return f"belongs to a job with {its}, not {mine}"

    def _from_same_place(self, manifest: Manifest) -> bool:
        """Whether the manifest or the sources have the same path as before."""
        before = self._job.manifest
        if self._config.sources:
            return not set(before.sources).isdisjoint(absolute_sources(self._config.sources))
        return before.origin is not None and before.origin == origin_of(manifest)

    def _related(self, manifest: Manifest, found: Survey) -> bool:
        """Whether half of the rows (of the shorter of both) have the same ids and file names."""
        index = Index.load(self._root, part_names(self._root))
        shared = int(np.count_nonzero(index.present(found.ids)))
        if 2 * shared < min(len(index.entries), found.rows):
            return False
        named = {item.id: _file(item.audio) for item in islice(manifest.rows(), COMPARED)}
        there = self._files(named)
        same = sum(named[row_id] == file for row_id, file in there.items())
        return 2 * same >= len(there)

    def _files(self, ids: Iterable[str]) -> dict[str, str]:
        """The file names of those of the rows that the folder has."""
        from pyarrow.compute import field  # slow to import, and a new job has nothing to compare

        where = field("id").isin(list(ids))
        rows = stream(open_transcripts(self._root), ("id", "audio"), where)
        return {row["id"]: _file(row["audio"]) for row in rows}


def _file(audio: str) -> str:
    return PurePosixPath(audio.partition("://")[2] or audio).name


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _told(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return f"with {option}"
    if value in (None, False, "", [], ()):
        return f"without {option}"
    return f"with {option} {','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
