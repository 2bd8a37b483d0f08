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
@click.option(
    "--to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Path of the page.  [default: DIR/report.html]",
)
@click.option(
    "--snippets",
    metavar="N",
    default=12,
    type=click.IntRange(0, 100),
    show_default=True,
    help="Number of windows to show with their audio.",
)
def report(dataset: Path, to: Path | None, snippets: int) -> None:
    """Write an HTML page about data set DIR.

    The page has plots, failed rows and the worst windows to listen to. It is self-contained: no network, no
    script. Works during a run. It holds snippets of the audio, so share it only as you would share the
    recordings, or use --snippets 0.
    """
    from asr_batch.jobs.views.report.page import write_report

    click.echo(write_report(dataset, to, snippets))
