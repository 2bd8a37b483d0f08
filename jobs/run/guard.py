"""Checks before a run, and its limits: the output folder, languages, wall-clock budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.config.values import next_occurrence, time_of_day
from asr_batch.jobs.console.messages import misspelt_text
from asr_batch.jobs.dataset.files import FOLDERS
from asr_batch.jobs.dataset.job_file import find_job
from asr_batch.jobs.dataset.lock import hold
from asr_batch.jobs.dataset.summary import STATUS, SUMMARY
from asr_batch.jobs.model_choice import Choice
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.languages import AUTO, language_code
from asr_batch.manifests.sources import FILE
from asr_batch.manifests.survey import Survey
from asr_batch.models.load import identify
from asr_batch.models.recognizer import ModelInfo


@contextmanager
def held_for(root: Path, config: RunConfig) -> Iterator[None]:
    """Lock the folder, which must be empty for `--fresh`, and ours or empty otherwise."""
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root}: not a folder; expected the folder of a data set, or a new name")
    with hold(root):
        _check_content(root, config)
        yield


def _check_content(root: Path, config: RunConfig) -> None:
    found = sorted(path.name for path in root.iterdir() if path.name != ".lock")
    if config.fresh and found:
        raise ConfigError(
            f"{root}: --fresh needs an empty folder (it deletes nothing), but found {', '.join(found[:5])}; "
            "choose another folder, or omit --fresh to continue with this one"
        )
    parts = list((root / "transcripts").glob("*.parquet"))[:1]
    if parts and not (root / "job.json").exists():
        raise ConfigError(f"{root}: holds transcripts/ of another program; expected an empty or a new folder")


def check_manifest_place(root: Path) -> None:
    """Raise ConfigError if `root` has a manifest.csv that `run` did not write."""
    job = find_job(root)
    if (root / FILE).exists() and not (job and job.options.get("sources")):
        raise ConfigError(
            f"{root / FILE} was not written by `run`, which would overwrite it; "
            f"give that manifest instead of audio, or another --out"
        )


def check_abilities(config: RunConfig, model: ModelInfo) -> None:
    """Raise ConfigError for languages and a task of the job that the model does not know."""
    for name in ("language", "languages"):
        told = [part.strip() for part in (getattr(config, name) or "").split(",") if part.strip()]
        unknown = [one for one in told if not _knows(model, one)]
        if unknown:
            raise ConfigError(
                f"--{name}: {model.name} does not know {', '.join(unknown)}; expected {_languages(model)}"
            )
    if config.task == "translate" and "translate" not in model.capabilities:
        raise ConfigError(
            f"--task translate: {model.name} only transcribes; expected a multilingual Whisper, such as "
            "--model base"
        )


def _knows(model: ModelInfo, language: str) -> bool:
    code = language_code(language)
    return not model.languages or code == AUTO or code in model.languages


def _languages(model: ModelInfo) -> str:
    if len(model.languages) == 1:
        return f"{model.languages[0]}, its only one"
    return f"one of its {len(model.languages)}: {', '.join(model.languages)}"


def warnings_of(config: RunConfig, found: Survey) -> list[str]:
    """What is accepted but has no effect: columns that look misspelt, and workers that there will not be."""
    warnings = [misspelt_text(name, meant) for name, meant in found.misspelt.items()]
    if config.no_ray and (config.workers or 1) > 1:
        warnings.append(f"--workers {config.workers} does not count: --no-ray is one worker, in this process")
    return warnings


OURS = (
    *(".lock", "log.jsonl", "stderr.log", "job.json", "manifest.csv", "manifest.kept"),
    *(STATUS, SUMMARY, "metrics.prom", *FOLDERS),
)
"""Files that a run creates before its first row."""


def contents(root: Path) -> frozenset[str] | None:
    """Names in the folder; None if it does not exist."""
    try:
        return frozenset(path.name for path in root.iterdir())
    except OSError:
        return None


def leave_as_it_was(root: Path, before: frozenset[str] | None) -> None:
    """Remove what a run that never started has created in the folder, and the folder if it was new."""
    for path in [root / name for name in OURS if name not in (before or ())]:
        with suppress(OSError):  # keep a folder with parts
            path.rmdir() if path.is_dir() else path.unlink()
    if before is None:
        with suppress(OSError):
            root.rmdir()


def deadline(config: RunConfig) -> Callable[[], bool]:
    """Whether the wall-clock budget is used up."""
    begun, hours = time.monotonic(), config.max_hours
    at = None
    if config.stop_at is not None:
        at = next_occurrence(time_of_day(config.stop_at), datetime.now().astimezone())

    def over() -> bool:
        if hours is not None and time.monotonic() - begun >= hours * 3600:
            return True
        return at is not None and datetime.now().astimezone() >= at

    return over


def with_slowness(choice: Choice, config: RunConfig) -> Choice:
    """The choice, whose warning says so if this machine's kernels would do the work and are not there."""
    known = identify(choice.path)
    if known is None or known.precision == "fp32" or config.provider != "auto" or config.address != "local":
        return choice
    from asr_batch.models.kernels.library import why_numpy  # reads the library

    if not (why := why_numpy()):
        return choice
    slow = f"Without kernels, numpy writes the same texts in nine times the time: {why}."
    return replace(choice, warning=f"{choice.warning} {slow}" if choice.warning else slow)
