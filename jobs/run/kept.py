"""A folder keeps its job: what a run into it may change without `--redo`, and what it takes from it.

What the user does not name is the folder's own: its model, every setting that decides the text. What is named
and differs is refused, unless `--redo` says to go on; the rows are then replaced one by one, and each old one
stays readable until its new one is committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr_batch.jobs.config import DECIDING, RunConfig
from asr_batch.jobs.dataset.index import Index
from asr_batch.jobs.dataset.json_files import SUMMARY, read_json
from asr_batch.jobs.dataset.parts import part_names
from asr_batch.jobs.dataset.tables import JOB
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.reader import Manifest
from asr_batch.manifests.survey import Survey
from asr_batch.models.recognizer import ModelInfo

REMEDY = "leave it out to go on with that job, name another --out, or add --redo"


@dataclass(frozen=True, slots=True)
class KeptJob:
    """The job of a folder that holds rows. `job` is its job.json."""

    root: Path
    job: Mapping[str, Any]

    def settled(self, config: RunConfig) -> RunConfig:
        """`config` with the folder's own model and settings where the user named none.

        Raises ConfigError where one was named that is another, without `--redo`.
        """
        kept, own = self.job["options"], {}
        for name in DECIDING:
            old = kept.get(name, getattr(RunConfig(), name))
            if name not in config.told:
                own[name] = old
            elif getattr(config, name) != old and not config.redo:
                new = _option(name, getattr(config, name))
                raise ConfigError(f"{self.root} was made with {_option(name, old)}, not {new}; {REMEDY}")
        if "model" not in config.told:
            own["model"] = self.job["model"]["path"]
        return replace(config, **own)

    def model_gone(self) -> ConfigError:
        """What to say when the folder's own model cannot be found."""
        model = self.job["model"]
        return ConfigError(
            f"{self.root} was made with the model {model['name']}, which {model['path']} no longer holds; "
            "bring it back, or name one with --model and add --redo"
        )

    def check_model(self, info: ModelInfo, config: RunConfig) -> None:
        """Raise ConfigError where a run would write the rows of another model among these."""
        model = self.job["model"]
        if config.redo or info.sha256 == model["sha256"]:
            return
        if info.path == model["path"] or "model" not in config.told:
            raise ConfigError(
                f"{self.root} was made with the model {model['name']}, whose files have changed since; "
                "name another --out, or add --redo to transcribe its rows again"
            )
        raise ConfigError(f"{self.root} was made with the model {model['name']}, not {info.name}; {REMEDY}")

    def check_manifest(self, manifest: Manifest, found: Survey, config: RunConfig) -> None:
        """Raise ConfigError for a manifest from elsewhere that has none of this folder's rows.

        One that grew, shrank or moved has some; one under the same path may change altogether (a nightly
        list); audio files, folders and globs named as before are the same job whatever they hold now.
        """
        before, sources = self.job["manifest"], tuple(self.job["options"].get("sources") or ())
        same_place = before["path"] == str(manifest.path.absolute()) and not (sources or config.sources)
        same_sources = bool(sources) and sources == config.sources
        if config.redo or same_place or same_sources or before["sha256"] == found.sha256:
            return
        if before["name"] == manifest.name == "standard input":
            return
        index = Index.load(self.root, part_names(self.root))
        if not index.present(found.ids).any():
            raise ConfigError(
                f"{self.root} holds the {before['rows']} rows of {before['name']}, and {manifest.name} has "
                "none of them; name another --out, or add --redo to put both into one data set"
            )


def kept_job(root: Path) -> KeptJob | None:
    """The job of the folder; None where it holds no rows yet."""
    job = read_json(root / JOB)
    return KeptJob(root, job) if job.get("model") and part_names(root) else None


def died(root: Path) -> bool:
    """Whether the last run into the folder ended without a word: every stop writes summary.json."""
    job, summary = root / JOB, root / SUMMARY
    if not job.exists():
        return False
    return not summary.exists() or summary.stat().st_mtime < job.stat().st_mtime


def _option(name: str, value: object) -> str:
    flag = f"--{name.replace('_', '-')}"
    if value is None or value is False:
        return f"no {flag}"
    return flag if value is True else f"{flag} {value}"
