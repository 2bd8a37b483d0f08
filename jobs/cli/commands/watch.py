"""`asr-batch watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_batch.jobs.cli.options import checked, run_options
from asr_batch.jobs.config import KEYS, build_config
from asr_batch.jobs.config_file import read_config
from asr_batch.jobs.console.signals import leave, signals_blocked

OURS = tuple(key for key in KEYS if key not in ("manifest", "sources", "fresh", "stop_at", "max_hours"))
SECONDS = click.FloatRange(min=0.0)


@click.command(epilog="Example:  asr-batch watch incoming/ --out out/incoming --format srt")
@click.argument("folder", required=False)
@run_options(*OURS)
@click.option("--config", type=click.Path(), metavar="job.toml", help="Take these keys from a TOML file.")
@click.option("--settle", type=SECONDS, default=5.0, help="Seconds a file must stay as it is.  [default: 5]")
@click.option("--interval", type=SECONDS, default=2.0, help="Seconds between two looks.  [default: 2]")
def watch(folder: str | None, config: str | None, settle: float, interval: float, **given: Any) -> None:
    """Transcribe what arrives in FOLDER, until stopped, into a data set.

    A file is taken once it has stopped growing; hidden files, and names that do not end as audio does, are
    left alone. The data set is that of `run`: a stop at any moment loses nothing that was finished, the same
    command goes on, and a file that is taken out of FOLDER later keeps its row. Exit codes: 130 and 143
    stopped by a signal, 2 nothing was started, 5 another run holds the data set.
    """
    file = read_config(Path(config)) if config is not None else None
    settings = build_config(checked({"sources": (folder,) if folder else None, **given}), file)
    with signals_blocked():  # also in threads that libraries start when they are loaded
        from asr_batch.jobs.watch.loop import Pace, watch_folder

        leave(watch_folder(settings, Pace(settle, interval)))
