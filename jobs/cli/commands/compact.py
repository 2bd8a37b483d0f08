"""`asr-batch compact`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Example:  asr-batch compact out/demo")
@click.argument("folder", metavar="DIR")
@click.option(
    "--rows", type=click.IntRange(1), default=500_000, show_default=True, help="Maximum rows per part."
)
@click.option(
    "--megabytes", type=click.IntRange(1), default=256, show_default=True, help="Maximum size of a part."
)
def compact(folder: str, rows: int, megabytes: int) -> None:
    """Merge the part files of data set DIR into fewer, larger ones."""
    from asr_batch.jobs.console.messages import plural
    from asr_batch.jobs.dataset.compaction import compact_parts
    from asr_batch.jobs.dataset.lock import hold
    from asr_batch.jobs.dataset.tables import check_dataset

    root = Path(folder)
    check_dataset(root)
    with hold(root):
        before, after = compact_parts(root, rows, megabytes * 1024 * 1024)
    click.echo(f"{plural(before, 'part')} before, {after} after")
