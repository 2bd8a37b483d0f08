"""`asr-batch watch` as a systemd user service: starts at login or boot, and restarts after a crash."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.config.job_toml import read_config
from asr_batch.jobs.schedule.entry import Entry, absolute, job_name, stopping
from asr_batch.jobs.schedule.systemd import JOB, UserTimers, folder, quoted, systemctl
from asr_batch.manifests.errors import ConfigError

ENDING = "-watch.service"


@dataclass(frozen=True, slots=True)
class Watched:
    """A job file for `watch`, by its absolute path, and its `--grace` in seconds."""

    config: str
    grace: float


def plan(config: Path) -> Watched:
    """Check a job file for `watch`. Raises ConfigError."""
    settings = build_config({}, read_config(config))
    if len(settings.sources) != 1:
        raise ConfigError(f'{config}: expected one folder to watch, as in sources = ["incoming"]')
    return Watched(absolute(config), settings.grace)


def unit(job: Watched) -> str:
    """The unit. Bad settings (2) and a held folder (5) do not restart it."""
    config = job.config
    program = (sys.executable, "-P", "-m", "asr_batch.jobs")
    command = (*program, "watch", "--config", config, "--progress", "none")
    return (
        f"# asr-batch job: {config}\n"
        f"[Unit]\nDescription=asr-batch watches the folder of {Path(config).name.replace('%', '%%')}\n\n"
        f"[Service]\nType=exec\nExecStart={' '.join(map(quoted, command))}\n"
        "Restart=on-failure\nRestartSec=30\nRestartPreventExitStatus=2 5\n"
        f"{stopping(job.grace)}\n"
        "[Install]\nWantedBy=default.target\n"
    )


def preview(job: Watched) -> str:
    """The unit and its path."""
    return f"{_path(job_name(job.config))}:\n{unit(job)}\n"


def install(job: Watched) -> None:
    """Write the unit and start or restart it. Raises ConfigError, also without systemd."""
    if not UserTimers.runs():
        raise ConfigError(
            "this user has no systemd instance; run `asr-batch watch --config` under your own supervisor"
        )
    path = _path(job_name(job.config))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit(job), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the unit cannot be written: {error}; check {folder()}") from error
    systemctl("daemon-reload")
    systemctl("enable", path.name)
    systemctl("restart", path.name)


def entries() -> list[Entry]:
    """The installed services."""
    found = []
    for path in sorted(folder().glob(f"asr-batch-*{ENDING}")):
        job = JOB.search(path.read_text(encoding="utf-8", errors="replace"))
        found.append(Entry(path.name.removesuffix(ENDING), job[1] if job else "", "watch", "systemd"))
    return found


def remove(name: str) -> bool:
    """Stop the service and remove its unit; returns whether it was installed. Raises ConfigError."""
    path = _path(name)
    if not path.exists():
        return False
    systemctl("disable", "--now", path.name)
    path.unlink(missing_ok=True)
    systemctl("daemon-reload")
    return True


def _path(name: str) -> Path:
    return folder() / f"{name}{ENDING}"
