"""Scheduled jobs in the user's crontab, each between two marker comments."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

from asr_batch.jobs.schedule.entry import Entry, Kind, Planned
from asr_batch.manifests.errors import ConfigError

BEGIN = "# asr-batch begin"
END = "# asr-batch end"
_BLOCK = re.compile(rf"^{BEGIN} (\S+) (.*)\n((?:.*\n)*?){END} \1(?:\n|\Z)", re.MULTILINE)


def block(job: Planned) -> str:
    """The lines of one job. cron reads `%` as a line break unless it is escaped with a backslash."""
    command = shlex.join(job.command).replace("%", r"\%")
    line = f"{job.at.minute} {job.at.hour} * * * {command}"
    return f"{BEGIN} {job.name} {job.config}\n{line}\n{END} {job.name}\n"


def without(crontab: str, name: str) -> str:
    """A crontab without the block of a job; all other lines are unchanged."""
    return _BLOCK.sub(lambda found: "" if found[1] == name else found[0], crontab)


def with_block(crontab: str, job: Planned) -> str:
    """A crontab with the block of a job, in its old place or at the end.

    Raises ConfigError when the end of the old block is missing.
    """
    if any(name == job.name for name, _, _ in _BLOCK.findall(crontab)):
        return _BLOCK.sub(lambda found: block(job) if found[1] == job.name else found[0], crontab)
    if f"{BEGIN} {job.name} " in crontab:
        raise ConfigError(
            f"the crontab has {BEGIN!r} of {job.name} but not its end; repair it with crontab -e"
        )
    return crontab + "\n" * bool(crontab and not crontab.endswith("\n")) + block(job)


class Crontab:
    """The current user's crontab."""

    kind: Kind = "cron"

    @staticmethod
    def runs() -> bool:
        """Whether there is a crontab command."""
        return shutil.which("crontab") is not None

    def preview(self, job: Planned) -> str:
        """The lines that `install` writes."""
        return f"crontab:\n{block(job)}"

    def install(self, job: Planned) -> None:
        """Add or replace the job's lines."""
        before = _read()
        _write(before, with_block(before, job))

    def entries(self) -> list[Entry]:
        """The jobs between the marker comments."""
        return [_entry(name, config, line) for name, config, line in _BLOCK.findall(_read())]

    def remove(self, name: str) -> bool:
        """Remove the job's lines."""
        before = _read()
        after = without(before, name)
        _write(before, after)
        return before != after


def _entry(name: str, config: str, line: str) -> Entry:
    fields = line.strip().rpartition("\n")[2].split(maxsplit=5)
    known = len(fields) == 6 and fields[0].isdecimal() and fields[1].isdecimal()
    at = f"{int(fields[1]):02}:{int(fields[0]):02}" if known else " ".join(fields[:5])
    return Entry(name, config, at, "cron")


def _read() -> str:
    done = subprocess.run(["crontab", "-l"], capture_output=True, check=False)
    if done.returncode and b"no crontab for" not in done.stderr:
        what = done.stderr.decode(errors="replace").strip()
        raise ConfigError(f"the crontab cannot be read: {what or f'crontab -l ended with {done.returncode}'}")
    return "" if done.returncode else done.stdout.decode("utf-8", "surrogateescape")


def _write(before: str, after: str) -> None:
    """Write the crontab if it changed."""
    if before == after:
        return
    data = after.encode("utf-8", "surrogateescape")
    done = subprocess.run(["crontab", "-"], input=data, capture_output=True, check=False)
    if done.returncode:
        what = done.stderr.decode(errors="replace").strip()
        raise ConfigError(f"the crontab cannot be written: {what or f'crontab ended with {done.returncode}'}")
