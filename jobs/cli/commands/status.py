"""`asr-batch status`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(epilog="Example:  asr-batch status out/demo")
@click.argument("folder", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(folder: str, as_json: bool) -> None:
    """Show the progress of data set DIR, during a run and afterwards."""
    from asr_batch.jobs.dataset.json_files import plain
    from asr_batch.jobs.views.state import job_state, state_lines

    found = job_state(Path(folder))
    click.echo(json.dumps(plain(found), indent=2) if as_json else "\n".join(state_lines(found)))
