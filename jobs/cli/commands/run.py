"""`asr-batch run`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from asr_batch.jobs.cli.options import GroupedCommand, checked, run_options
from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.config.job_toml import read_config
from asr_batch.jobs.console.signals import leave, signals_blocked

EPILOG = """\b
Example:  asr-batch run examples/manifest.csv --out out/demo
          asr-batch run talk.mp3 interviews/ 'calls/*.wav' --out out/talks
"""


@click.command(cls=GroupedCommand, epilog=EPILOG)
@click.argument("sources", metavar="SOURCE...", nargs=-1)
@run_options()
@click.option("--config", type=click.Path(), metavar="job.toml", help="Read options from a TOML file.")
def run(sources: tuple[str, ...], config: str | None, **given: Any) -> None:
    """Transcribe SOURCE into a data set.

    SOURCE is a manifest, or any number of audio files, folders and quoted globs, from which a manifest is
    written to DIR/manifest.csv.

    Run the same command again to resume. Prints the path of the data set to standard output.

    Exit codes: 0 all rows done, 1 a bug, 2 nothing was started, 3 some rows failed or are partial, 4 a gate
    does not hold, 5 another run holds the folder, 129, 130 and 143 stopped by a signal.
    """
    with signals_blocked():  # also set for threads that libraries start at import
        with _kept():
            file = read_config(Path(config)) if config is not None else None
            settings = build_config(checked({"sources": sources or None, **given}), file)
            from asr_batch.jobs.run.pools import load_early

            load_early(settings)
            from asr_batch.jobs.run.job import run_job  # slow to import, beside the worker that loads
        leave(run_job(settings))


@contextmanager
def _kept() -> Iterator[None]:
    """What the block loads stays: the garbage collector need not look through it, now or later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
