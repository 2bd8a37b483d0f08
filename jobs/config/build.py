"""Builds a :class:`RunConfig` from the command line and `job.toml`, or from the job.json of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr_batch.jobs.config.contradictions import check_together, without_overruled
from asr_batch.jobs.config.keys import KEYS, RunConfig
from asr_batch.jobs.config.values import check_value
from asr_batch.manifests.errors import ConfigError


def build_config(given: Mapping[str, Any], file: Mapping[str, Any] | None = None) -> RunConfig:
    """Build the settings from checked values; `given` on the command line wins over the `file`."""
    told = {name: value for name, value in given.items() if value is not None}
    kept = dict(file or {})
    if kept.keys() >= {"manifest", "sources"}:
        raise ConfigError("job.toml has both manifest and sources; expected one of them")
    if told.keys() & {"manifest", "sources"}:
        kept = {name: value for name, value in kept.items() if name not in ("manifest", "sources")}
    values = {**without_overruled(kept, told), **told}
    check_together(values)
    config = _with_manifest(RunConfig(**values, named=frozenset(values)))
    if not config.manifest and not config.sources:
        raise ConfigError(
            "SOURCE is missing: give a manifest, or audio files, folders and globs, on the command line "
            "or in job.toml as manifest or sources"
        )
    if config.glossary:
        config = replace(config, glossary=str(Path(config.glossary).absolute()))
        config.terms()
    if config.beside_audio and not config.format:
        raise ConfigError("--beside-audio needs --format, such as --format srt,txt")
    if not config.out:
        raise ConfigError("--out DIR is missing; give it on the command line or in job.toml as out")
    return config


def _with_manifest(config: RunConfig) -> RunConfig:
    """The settings with `manifest` set if their only source is a manifest. Raises ConfigError."""
    from asr_batch.manifests.sources import one_manifest  # for one recording in place of a manifest

    manifest = one_manifest(config.sources) if config.sources else None
    return replace(config, manifest=manifest, sources=()) if manifest else config


def from_job(options: Mapping[str, Any], **changes: Any) -> RunConfig:
    """The settings stored in job.json, with `changes` applied. Raises ConfigError for an invalid job.json.

    Unknown keys are ignored.
    """
    known = {name: value for name, value in options.items() if name in KEYS and value is not None}
    checked = {name: check_value(name, value, "job.json") for name, value in known.items()}
    return RunConfig(**{**checked, **changes})
