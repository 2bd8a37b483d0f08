"""`asr-batch export`: subtitles and text, one file per row."""

from __future__ import annotations

from pathlib import Path

import click

from asr_batch.jobs.config import FORMATS

EPILOG = """\b
Example:
  asr-batch export out --format srt --to subtitles
"""


@click.command(epilog=EPILOG)
@click.argument("dataset", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(FORMATS))
@click.option(
    "--to", required=True, metavar="DIR2", type=click.Path(path_type=Path), help="Folder to write to."
)
def export(dataset: Path, form: str, to: Path) -> None:
    """Write each row of DIR to a file of its own in DIR2, named by its id.

    Characters that a file system might not take become `_`; DIR2/index.csv says which file is whose.
    Failed rows have no file. A running job can be exported: what it has committed so far is written.
    """
    from asr_batch.jobs.views.export import export_rows

    done = export_rows(dataset, form, to)
    failed = f"; failed rows, which have no transcript and no file: {done.failed}" if done.failed else ""
    click.echo(f"{done.files} file{'s' * (done.files != 1)} written to {to}{failed}", err=True)
    click.echo(to)
