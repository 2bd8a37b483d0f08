"""`job.json`: manifest, model, settings and versions of a data set, enough to run the job again."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from msgspec import Struct, field

from asr_batch.jobs.config.fingerprint import Settings
from asr_batch.jobs.config.keys import KEYS, RunConfig
from asr_batch.jobs.dataset.json_files import read_document, write_document
from asr_batch.jobs.dataset.schema import SCHEMA_VERSION
from asr_batch.jobs.dataset.tables import JOB, check_dataset
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.location import Base, is_remote, scheme_of
from asr_batch.manifests.reader import STANDARD_INPUT, Format, Manifest
from asr_batch.manifests.survey import Survey
from asr_batch.models.recognizer import ModelInfo

SECRET = ("on_finish", "webhook")
"""Keys that are not stored, because addresses and commands often contain passwords."""

PACKAGES = ("asr-batch", "numpy", "onnxruntime", "pyarrow", "ray", "soundfile", "av", "soxr", "tokenizers")


class JobManifest(Struct, frozen=True, kw_only=True):
    """The manifest: its `name` as given, the file at `path`, and the base of its audio paths.

    `origin` is the absolute path or the URL that it came from; `sources` are the files, folders and globs
    that it was built from; `left` counts rows of the data set that it no longer has.
    """

    name: str = ""
    origin: str | None = None
    sources: tuple[str, ...] = ()
    path: str = ""
    base: str = ""
    remote: bool = False
    format: Format | None = None
    rows: int = 0
    left: int = 0
    sha256: str = ""


class JobModel(Struct, frozen=True, kw_only=True):
    """The model of the last run."""

    name: str = ""
    path: str = ""
    sha256: str = ""
    family: str = ""


class Job(Struct, frozen=True, kw_only=True):
    """job.json. `options` are keys of :class:`RunConfig`, `settings` those that affect a transcript."""

    version: str = ""
    schema: int = int(SCHEMA_VERSION)
    created_at: str = ""
    manifest: JobManifest = JobManifest()
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    settings_sha256: str = ""
    model: JobModel = JobModel()
    fingerprint: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    platform: str = ""
    argv: tuple[str, ...] = ()


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
    left: int,
    model: ModelInfo,
    settings: Settings,
) -> None:
    """Write job.json; a resumed job keeps its first start time."""
    before = find_job(root)
    job = Job(
        version=version("asr-batch"),
        created_at=(before and before.created_at) or datetime.now(UTC).isoformat(timespec="seconds"),
        manifest=JobManifest(
            name=manifest.name,
            origin=origin_of(manifest),
            sources=tuple(absolute_sources(config.sources)),
            path=str(manifest.path.absolute()),
            base=manifest.base.folder,
            remote=manifest.base.remote,
            format=manifest.format,
            rows=found.rows,
            left=left,
            sha256=found.sha256,
        ),
        options={**{name: getattr(config, name) for name in KEYS}, **dict.fromkeys(SECRET)},
        settings=settings.base,
        settings_sha256=settings.sha256(),
        model=JobModel(name=model.name, path=model.path, sha256=model.sha256, family=model.family),
        fingerprint=fingerprint(model, settings),
        versions={"python": platform.python_version(), **_versions()},
        platform=platform.platform(),
        argv=tuple(_shown(argument, config) for argument in sys.argv),
    )
    write_document(root / JOB, job)


def origin_of(manifest: Manifest) -> str | None:
    """The origin of a manifest: its absolute path or its URL; None for standard input."""
    if is_remote(manifest.name):
        return manifest.name
    return None if manifest.name == STANDARD_INPUT else _absolute(manifest.name)


def absolute_sources(sources: Sequence[str]) -> list[str]:
    """Files, folders and globs as absolute paths; URLs unchanged."""
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


def find_job(root: Path) -> Job | None:
    """job.json of a folder, or None."""
    return read_document(root / JOB, Job)


def load_job(root: Path) -> Job:
    """job.json of a data set. Raises ConfigError if it is missing or invalid."""
    check_dataset(root)
    job = find_job(root)
    if job is None:
        raise ConfigError(f"{root / JOB}: not a job.json of asr-batch; the next `run` replaces it")
    return job


def stored_manifest(job: Job) -> Manifest:
    """The manifest that a data set was made from. Raises ManifestError."""
    kept = job.manifest
    base = Base(kept.base, remote=kept.remote)
    return Manifest(kept.name, Path(kept.path), base, cast(Format, kept.format))
