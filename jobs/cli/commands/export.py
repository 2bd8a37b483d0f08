"""`asr-batch export`: subtitles and text, one file per row."""

from __future__ import annotations

from pathlib import Path

import click

from asr_batch.jobs.config.values import FORMATS

EPILOG = """\b
Example:
  asr-batch export out --format srt --to subtitles
"""


@click.command(epilog=EPILOG)
@click.argument("dataset", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(FORMATS), help="File format.")
@click.option(
    "--to", required=True, metavar="DIR2", type=click.Path(path_type=Path), help="Folder to write to."
)
def export(dataset: Path, form: str, to: Path) -> None:
    """Write each row of data set DIR to a file in DIR2.

    Files are named by row id; characters that are unsafe in file names become `_`, and DIR2/index.csv maps
    ids to files. Failed rows have no file. Works during a run, with the rows committed so far.
    """
    from asr_batch.jobs.views.export import export_rows

    done = export_rows(dataset, form, to)
    failed = f"; failed rows, which have no file: {done.failed}" if done.failed else ""
    click.echo(f"{done.files} file{'s' * (done.files != 1)} written to {to}{failed}", err=True)
    click.echo(to)
