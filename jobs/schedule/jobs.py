"""Nightly runs: a systemd user timer where systemd runs, else a line in the user's crontab.

What is written starts `asr-batch run --config job.toml --quiet` with this very Python and absolute paths,
since neither scheduler knows the user's PATH or virtual environment. Two runs of one job never overlap:
`run` holds a lock on its output folder that dies with it, and the second one ends with code 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from asr_batch.jobs.schedule.entry import Entry, Kind, Planned, absolute, job_name
from asr_batch.manifests.errors import ConfigError


class Scheduler(Protocol):
    """One way to have a job started by itself."""

    kind: Kind

    def preview(self, job: Planned) -> str:
        """What `install` writes, for a person."""

    def install(self, job: Planned) -> None:
        """Write it, in place of what was there for this job. Raises ConfigError."""

    def entries(self) -> list[Entry]:
        """The jobs of ours that are installed."""

    def remove(self, name: str) -> bool:
        """Take a job out; whether it was there. Raises ConfigError."""


def plan(config: Path, at: str) -> Planned:
    """A job that can be scheduled. Raises ConfigError for a bad job file or time."""
    from asr_batch.jobs.config import build_config, time_of_day
    from asr_batch.jobs.config_file import read_config

    try:
        when = time_of_day(at)
    except ValueError as error:
        raise ConfigError(f"--at {at}: expected {error}") from error
    if when.second:
        raise ConfigError(f"--at {at}: seconds cannot be kept; expected a time such as 02:00")
    settings = build_config({}, read_config(config))
    if settings.manifest == "-":
        raise ConfigError(f"{config}: manifest is standard input; a scheduled job needs a file")
    return Planned(absolute(config), when)


def schedulers() -> tuple[Scheduler, ...]:
    """All that this machine has, the preferred one first."""
    from asr_batch.jobs.schedule.cron import Crontab
    from asr_batch.jobs.schedule.systemd import UserTimers

    known: Sequence[Scheduler] = (UserTimers(), Crontab())
    runs = {"systemd": UserTimers.runs, "cron": Crontab.runs}
    return tuple(scheduler for scheduler in known if runs[scheduler.kind]())


def choose(kind: str) -> Scheduler:
    """The scheduler of a kind, or the preferred one for `auto`. Raises ConfigError when there is none."""
    found = [scheduler for scheduler in schedulers() if kind in ("auto", scheduler.kind)]
    if not found:
        what = "neither systemd nor a crontab command" if kind == "auto" else f"no {kind}"
        raise ConfigError(f"{what} on this machine; install cron, or start `asr-batch run --config` yourself")
    return found[0]


def install(job: Planned, scheduler: Scheduler) -> None:
    """Install a job with one scheduler, and with no other: it would run twice."""
    scheduler.install(job)
    for other in schedulers():
        if other.kind != scheduler.kind:
            other.remove(job.name)


def entries() -> list[Entry]:
    """All installed jobs, by time; those that watch a folder last."""
    from asr_batch.jobs.schedule import standing

    found = [entry for scheduler in schedulers() for entry in scheduler.entries()] + standing.entries()
    return sorted(found, key=lambda entry: (entry.at, entry.config))


def remove(config: Path) -> bool:
    """Take a job out of every scheduler; whether it was in one. The file itself need not exist any more."""
    name = job_name(absolute(config))
    from asr_batch.jobs.schedule import standing

    removed = [scheduler.remove(name) for scheduler in schedulers()] + [standing.remove(name)]
    return any(removed)
