"""`asr-batch manifest build`: a manifest from folders and globs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.replacing import replacing

EPILOG = """\b
Example:
  asr-batch manifest build recordings 'more/**/*.wav' --to manifest.csv
"""


@click.group(epilog=EPILOG)
def manifest() -> None:
    """Build manifests."""


@manifest.command(epilog=EPILOG)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--to",
    required=True,
    metavar="FILE",
    help="Manifest to write: .csv, .tsv, .jsonl, .parquet or .txt, each also .gz; - prints CSV.",
)
@click.option("--durations", is_flag=True, help="Add a column `duration`, read from the file headers.")
@click.option("--hidden", is_flag=True, help="Include hidden files and folders.")
def build(paths: tuple[str, ...], to: str, durations: bool, hidden: bool) -> None:
    """Write a manifest of the audio files in PATH...

    PATH is a file, a folder (searched recursively) or a quoted glob. Files are sorted by path and listed
    once. Paths below the manifest's folder are written relative to it, so both can be moved together; others
    are absolute.
    """
    from asr_batch.jobs.console.messages import plural  # with rich, which `--help` does without
    from asr_batch.manifests.build import Target, add_durations, encode, find, rows

    target = Target.of(to)
    files = find(paths, hidden=hidden)
    lines = rows(files, target.path.parent if target.path else None)
    if durations:
        from asr_batch.pipeline.audio.reader import probe

        for line, file in zip(lines, files, strict=True):
            line["file"] = file
        missing = add_durations(lines, lambda file: probe(file).duration)
        if missing:
            click.echo(f"files of unknown duration (`asr-batch plan` gives the reasons): {missing}", err=True)
    write(encode(lines, target), target.path)
    click.echo(f"{plural(len(lines), 'audio file')} in {to}", err=True)


def write(data: bytes, path: Path | None) -> None:
    """Write to standard output, or replace a file in one step. Raises ConfigError."""
    if path is None:
        sys.stdout.buffer.write(data)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as hidden:
            hidden.write_bytes(data)
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"--to {path} cannot be written ({why}); choose another path") from error
