"""`job.json`: manifest, model, settings and versions of a data set, enough to run the job again."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from asr_batch.jobs.config.fingerprint import Settings
from asr_batch.jobs.config.keys import KEYS, RunConfig
from asr_batch.jobs.dataset.json_files import read_json, write_json
from asr_batch.jobs.dataset.schema import SCHEMA_VERSION
from asr_batch.jobs.dataset.tables import JOB
from asr_batch.manifests.location import Base, is_remote, scheme_of
from asr_batch.manifests.reader import STANDARD_INPUT, Manifest
from asr_batch.manifests.survey import Survey
from asr_batch.models.recognizer import ModelInfo

SECRET = ("on_finish", "webhook")
"""Keys that are not stored, because addresses and commands often contain passwords."""

PACKAGES = ("asr-batch", "numpy", "onnxruntime", "pyarrow", "ray", "soundfile", "av", "soxr", "tokenizers")


def fingerprint(model: ModelInfo, settings: Settings) -> str:
    """The hashes of the job's model and settings."""
    return f"{model.sha256[:16]}-{settings.sha256()[:16]}"


def part_metadata(model: ModelInfo, settings: Settings) -> dict[str, str]:
    """The metadata of every part file."""
    return {
        "asr_batch.version": version("asr-batch"),
        "asr_batch.schema": SCHEMA_VERSION,
        "asr_batch.job": fingerprint(model, settings),
    }


def write_job(
    root: Path,
    config: RunConfig,
    manifest: Manifest,
    found: Survey,
    model: ModelInfo,
    settings: Settings,
) -> None:
    """Write job.json; a resumed job keeps its first start time."""
    created = read_json(root / JOB).get("created_at") or datetime.now(UTC).isoformat(timespec="seconds")
    description = {
        "version": version("asr-batch"),
        "schema": int(SCHEMA_VERSION),
        "created_at": created,
        "manifest": {
            "name": manifest.name,
            "origin": origin_of(manifest),
            "sources": absolute_sources(config.sources),
            "path": str(manifest.path.absolute()),
            "base": manifest.base.folder,
            "remote": manifest.base.remote,
            "format": manifest.format,
            "rows": found.rows,
            "sha256": found.sha256,
        },
        "options": {**{name: getattr(config, name) for name in KEYS}, **dict.fromkeys(SECRET)},
        "settings": settings.base,
        "settings_sha256": settings.sha256(),
        "model": {"name": model.name, "path": model.path, "sha256": model.sha256, "family": model.family},
        "fingerprint": fingerprint(model, settings),
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "argv": [_shown(argument, config) for argument in sys.argv],
    }
    write_json(root / JOB, description)


def origin_of(manifest: Manifest) -> str | None:
    """Where a manifest was read from: its absolute path or its URL; None for standard input."""
    if is_remote(manifest.name):
        return manifest.name
    return None if manifest.name == STANDARD_INPUT else _absolute(manifest.name)


def absolute_sources(sources: Sequence[str]) -> list[str]:
    """Files, folders and globs by their absolute paths; URLs as they are."""
    return [source if scheme_of(source) else _absolute(source) for source in sources]


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - links stay as they are named


def _shown(argument: str, config: RunConfig) -> str:
    """An argument without possible passwords."""
    for name in SECRET:
        argument = argument.replace(getattr(config, name) or "\0", "...")
    return argument


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def stored_manifest(job: dict[str, Any]) -> Manifest:
    """The manifest that a data set was made from. Raises ManifestError (from reading it)."""
    kept = job["manifest"]
    return Manifest(
        kept["name"], Path(kept["path"]), Base(kept["base"], remote=kept["remote"]), kept["format"]
    )
