"""`asr-batch watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_batch.jobs.cli.options import GroupedCommand, checked, run_options
from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.config.job_toml import read_config
from asr_batch.jobs.config.keys import KEYS
from asr_batch.jobs.console.signals import leave, signals_blocked
from asr_batch.manifests.errors import ConfigError

OURS = tuple(key for key in KEYS if key not in ("manifest", "sources", "fresh", "stop_at", "max_hours"))
SECONDS = click.FloatRange(min=0.0)


@click.command(
    cls=GroupedCommand, epilog="Example:  asr-batch watch incoming/ --out out/incoming --format srt"
)
@click.argument("folder", required=False)
@run_options(*OURS)
@click.option("--config", type=click.Path(), metavar="job.toml", help="Read options from a TOML file.")
@click.option(
    "--settle", type=SECONDS, default=5.0, help="Seconds without change before a file is taken.  [default: 5]"
)
@click.option("--interval", type=SECONDS, default=2.0, help="Seconds between scans of FOLDER.  [default: 2]")
def watch(folder: str | None, config: str | None, settle: float, interval: float, **given: Any) -> None:
    """Transcribe files that arrive in FOLDER, until stopped.

    A file is taken once it has stopped growing. Hidden files and files without an audio extension are
    ignored. The data set is the same as for `run`: stopping loses nothing that was finished, the same command
    resumes, and a file that is later removed from FOLDER keeps its row.

    Exit codes: 129, 130 and 143 stopped by a signal, 2 nothing was started, 5 another run holds the data set.
    """
    if folder is None and config is None:
        raise ConfigError("FOLDER is missing; give it on the command line, or in job.toml as sources")
    file = read_config(Path(config)) if config is not None else None
    settings = build_config(checked({"sources": (folder,) if folder else None, **given}), file)
    with signals_blocked():  # also set for threads that libraries start at import
        from asr_batch.jobs.watch.loop import Pace, watch_folder

        leave(watch_folder(settings, Pace(settle, interval)))
