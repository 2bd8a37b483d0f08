"""Nightly runs: a systemd user timer if systemd is available, else a line in the user's crontab.

The entry runs `asr-batch run --config job.toml --quiet` with the current Python and absolute paths, because
neither scheduler knows the user's PATH or virtual environment. Two runs of one job never overlap: `run` holds
a lock on its output folder, which is released when the process ends, and a second run ends with code 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.config.job_toml import read_config
from asr_batch.jobs.config.values import time_of_day
from asr_batch.jobs.schedule import standing
from asr_batch.jobs.schedule.cron import Crontab
from asr_batch.jobs.schedule.entry import Entry, Kind, Planned, absolute, job_name
from asr_batch.jobs.schedule.systemd import UserTimers
from asr_batch.manifests.errors import ConfigError


class Scheduler(Protocol):
    """A scheduler of jobs: systemd or cron."""

    kind: Kind

    def preview(self, job: Planned) -> str:
        """What `install` would write, as text for the user."""

    def install(self, job: Planned) -> None:
        """Write the job's entry, replacing an earlier one. Raises ConfigError."""

    def entries(self) -> list[Entry]:
        """The installed jobs."""

    def remove(self, name: str) -> bool:
        """Remove a job; returns whether it was installed. Raises ConfigError."""


def plan(config: Path, at: str) -> Planned:
    """Check a job file and a time, and plan the job. Raises ConfigError."""
    try:
        when = time_of_day(at)
    except ValueError as error:
        raise ConfigError(f"--at {at}: expected {error}") from error
    if when.second:
        raise ConfigError(f"--at {at}: schedulers have no seconds; expected a time such as 02:00")
    settings = build_config({}, read_config(config))
    if settings.manifest == "-":
        raise ConfigError(f"{config}: the manifest is standard input; expected a file")
    return Planned(absolute(config), when, settings.grace)


def schedulers() -> tuple[Scheduler, ...]:
    """The schedulers of this machine, the preferred one first."""
    known: Sequence[Scheduler] = (UserTimers(), Crontab())
    runs = {"systemd": UserTimers.runs, "cron": Crontab.runs}
    return tuple(scheduler for scheduler in known if runs[scheduler.kind]())


def choose(kind: str) -> Scheduler:
    """The scheduler of this kind, or the preferred one for `auto`. Raises ConfigError if there is none."""
    found = [scheduler for scheduler in schedulers() if kind in ("auto", scheduler.kind)]
    if not found:
        what = "neither systemd nor a crontab command" if kind == "auto" else f"no {kind}"
        raise ConfigError(f"{what} on this machine; install cron, or run `asr-batch run --config` yourself")
    return found[0]


def install(job: Planned, scheduler: Scheduler) -> None:
    """Install a job with one scheduler, and remove it from the others, where it would run twice."""
    scheduler.install(job)
    for other in schedulers():
        if other.kind != scheduler.kind:
            other.remove(job.name)


def entries() -> list[Entry]:
    """All installed jobs, by time; those that watch a folder last."""
    found = [entry for scheduler in schedulers() for entry in scheduler.entries()] + standing.entries()
    return sorted(found, key=lambda entry: (entry.at, entry.config))


def remove(config: Path) -> bool:
    """Remove a job from every scheduler; returns whether it was in one. The file need not exist any more."""
    name = job_name(absolute(config))
    removed = [scheduler.remove(name) for scheduler in schedulers()] + [standing.remove(name)]
    return any(removed)
