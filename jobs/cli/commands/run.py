"""`asr-batch run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_batch.jobs.cli.options import checked, run_options
from asr_batch.jobs.config import build_config
from asr_batch.jobs.config_file import read_config
from asr_batch.jobs.console.signals import leave


@click.command(epilog="Example:  asr-batch run examples/manifest.csv --out out/demo")
@click.argument("manifest", required=False)
@run_options()
@click.option("--config", type=click.Path(), metavar="job.toml", help="Take these keys from a TOML file.")
def run(manifest: str | None, config: str | None, **given: Any) -> None:
    """Transcribe MANIFEST into a data set.

    Goes on where an earlier run of the same job into the same folder stopped. On stdout: the path of the
    data set. Exit codes: 0 all rows done, 2 nothing was started, 3 some rows failed or are partial, 4 a gate
    does not hold, 5 another run holds the folder, 130 and 143 stopped by a signal.
    """
    from asr_batch.jobs.run.session import run_job

    file = read_config(Path(config)) if config is not None else None
    settings = build_config(checked({"manifest": manifest, **given}), file)
    leave(run_job(settings))
