"""`asr-batch report`: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Example:
  asr-batch report out --to report.html
"""


@click.command(epilog=EPILOG)
@click.argument("dataset", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--to", metavar="FILE", type=click.Path(path_type=Path), help="The page (DIR/report.html).")
@click.option(
    "--snippets",
    metavar="N",
    default=12,
    type=click.IntRange(0, 100),
    help="Worst windows shown, each with its audio (12).",
)
def report(dataset: Path, to: Path | None, snippets: int) -> None:
    """Write a page about DIR with plots, failed rows and the worst windows to listen to.

    The page needs nothing but itself: no network, no script. Works on a running job, too. It holds pieces
    of the audio: share it as you would share the recordings (or make it with --snippets 0).
    """
    from asr_batch.jobs.views.report import write_report

    click.echo(write_report(dataset, to, snippets))
