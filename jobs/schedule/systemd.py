"""Scheduled jobs as systemd user timers: a service and a timer in ~/.config/systemd/user."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from asr_batch.jobs.schedule.entry import Entry, Kind, Planned, stopping
from asr_batch.manifests.environment import config_folder
from asr_batch.manifests.errors import ConfigError

RUNNING = Path("/run/systemd/system")
"""Exists while systemd is the machine's init (sd_booted(3))."""
JOB = re.compile(r"^# asr-batch job: (.*)$", re.MULTILINE)
"""The line in a unit that names its job file."""

_AT = re.compile(r"^OnCalendar=\*-\*-\* (\d\d:\d\d):00$", re.MULTILINE)


def quoted(argument: str) -> str:
    """Quote an argument of ExecStart: systemd expands `%` and `$` even inside quotes (systemd.service(5))."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def service(job: Planned) -> str:
    """The service that runs the job. It never overlaps itself: a timer does not start an active service."""
    command = " ".join(map(quoted, job.command))
    return (
        f"# asr-batch job: {job.config}\n"
        f"[Unit]\nDescription=asr-batch run of {job.name}\n\n"
        f"[Service]\nType=oneshot\nExecStart={command}\n{stopping(job.grace)}"
    )


def timer(job: Planned) -> str:
    """The timer that starts it; a run missed while the machine was off is caught up."""
    return (
        f"# asr-batch job: {job.config}\n"
        f"[Unit]\nDescription=asr-batch every night: {job.name}\n\n"
        f"[Timer]\nOnCalendar=*-*-* {job.at:%H:%M}:00\nPersistent=true\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )


class UserTimers:
    """The current user's timers."""

    kind: Kind = "systemd"

    @staticmethod
    def runs() -> bool:
        """Whether systemd is running and this user has an instance of it."""
        if not RUNNING.is_dir() or shutil.which("systemctl") is None:
            return False
        return _systemctl("show-environment").returncode == 0

    def preview(self, job: Planned) -> str:
        """Both units and their paths."""
        return "".join(f"{path}:\n{text}\n" for path, text in _units(job).items())

    def install(self, job: Planned) -> None:
        """Write both units and start the timer."""
        try:
            for path, text in _units(job).items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the timer cannot be written: {error}; check {folder()}") from error
        systemctl("daemon-reload")
        systemctl("enable", f"{job.name}.timer")
        systemctl("restart", f"{job.name}.timer")  # applies a changed time at once

    def entries(self) -> list[Entry]:
        """The installed timers."""
        return [_entry(path) for path in sorted(folder().glob("asr-batch-*.timer"))]

    def remove(self, name: str) -> bool:
        """Stop the timer and remove both units."""
        if not (folder() / f"{name}.timer").exists():
            return False
        systemctl("disable", "--now", f"{name}.timer")
        for ending in ("timer", "service"):
            (folder() / f"{name}.{ending}").unlink(missing_ok=True)
        systemctl("daemon-reload")
        return True


def folder() -> Path:
    """The folder of this user's units."""
    return config_folder() / "systemd" / "user"


def lingers() -> bool:
    """Whether this user's timers also run while the user is logged out."""
    if shutil.which("loginctl") is None:
        return False
    command = ["loginctl", "show-user", getpass.getuser(), "--property=Linger", "--value"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"


def _units(job: Planned) -> dict[Path, str]:
    return {
        folder() / f"{job.name}.service": service(job),
        folder() / f"{job.name}.timer": timer(job),
    }


def _entry(path: Path) -> Entry:
    text = path.read_text(encoding="utf-8", errors="replace")
    job, at = JOB.search(text), _AT.search(text)
    return Entry(path.stem, job[1] if job else "", at[1] if at else "", "systemd")


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = ("systemctl", "--user", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")


def systemctl(*arguments: str) -> None:
    """Run `systemctl --user`. Raises ConfigError when it fails."""
    done = _systemctl(*arguments)
    if done.returncode:
        raise ConfigError(f"systemctl --user {' '.join(arguments)} failed: {done.stderr.strip()}")
