"""`asr-batch retry`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_batch.jobs.cli.options import GroupedCommand, checked, run_options
from asr_batch.jobs.console.signals import leave, signals_blocked

KEPT = (
    "address",
    "workers",
    "no_ray",
    "insecure_cluster",
    "batch_size",
    "threads",
    "grace",
    "stop_at",
    "max_hours",
    "hang_timeout",
    "metrics_port",
    "on_finish",
    "webhook",
    "progress",
    "quiet",
    "verbose",
)


@click.command(cls=GroupedCommand, epilog="Example:  asr-batch retry out/demo --only failed")
@click.argument("folder", metavar="DIR")
@click.option(
    "--only",
    type=click.Choice(["failed", "partial"]),
    multiple=True,
    default=["failed"],
    help="Rows to run again; can be repeated.  [default: failed]",
)
@run_options(*KEPT)
def retry(folder: str, only: tuple[str, ...], **given: Any) -> None:
    """Run failed or partial rows of data set DIR again.

    Uses the model and settings of the data set.
    """
    from asr_batch.jobs.config.build import from_job
    from asr_batch.jobs.dataset.job_file import load_job, stored_manifest

    job = load_job(Path(folder))
    changes = {"workers": None, "stop_at": None, "max_hours": None, "quiet": False, **checked(given)}
    config = from_job(job.options, out=folder, model=job.model.path, fresh=False, **changes)
    with signals_blocked():  # also set for threads that libraries start at import
        from asr_batch.jobs.run.job import run_job

        leave(run_job(config, manifest=stored_manifest(job), redo=only))
