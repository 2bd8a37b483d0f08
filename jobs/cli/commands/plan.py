"""`asr-batch plan`."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from asr_batch.jobs.run.planning import Plan, Planner

SHOWN = 20


EPILOG = """\b
Example:  asr-batch plan examples/manifest.csv --out out/demo
          asr-batch plan interviews/ 'calls/*.wav'
"""


@click.command(epilog=EPILOG)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--out", metavar="DIR", help="Data set whose finished rows are left out.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0.01),
    help="Expected speed, in audio seconds per second of wall time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(sources: tuple[str, ...], out: str | None, speed: float | None, as_json: bool) -> None:
    """Check every file of SOURCE without transcribing.

    Lists unreadable files and duplicates, adds up the audio, and estimates the wall time. SOURCE is a
    manifest, or any number of audio files, folders and quoted globs.
    """
    from asr_batch.manifests.errors import ConfigError
    from asr_batch.manifests.sources import open_sources
    from asr_batch.manifests.survey import no_rows_text

    with tempfile.TemporaryDirectory(prefix="asr-batch-") as spool:
        opened = open_sources(sources, Path(out or "."), Path(spool) / "manifest")
        found = _planner(out, speed).run(opened)
    if not found.rows:
        raise ConfigError(no_rows_text(opened.name))
    if as_json:
        click.echo(json.dumps({**asdict(found), "wall_seconds": found.wall_seconds}, indent=2))
    else:
        _print(found, None if opened.base.remote else opened.base.folder)


def _planner(out: str | None, speed: float | None) -> Planner:
    from asr_batch.jobs.dataset.job_file import load_job
    from asr_batch.jobs.dataset.tables import JOB
    from asr_batch.jobs.run.planning import Planner, known_speed, resume_of

    root = Path(out) if out and (Path(out) / JOB).is_file() else None
    planner = Planner(resume_of(root, load_job(root)) if root else None)
    shown = speed or (known_speed(root) if root else None)
    if shown:
        planner.plan.rtfx, planner.plan.rtfx_known = shown, True
    return planner


def _print(found: Plan, folder: str | None) -> None:
    from asr_batch.jobs.console.messages import misplaced_text, misspelt_text, one_line, plural
    from asr_batch.jobs.console.progress import hms

    for name, meant in found.misspelt.items():
        click.echo(misspelt_text(name, meant))
    click.echo(f"{plural(found.rows, 'row')}, {hms(found.seconds)} of audio")
    click.echo(
        f"{found.done} already done, {found.unreadable} unreadable, {plural(found.duplicates, 'duplicate')}"
    )
    if found.remote:
        click.echo(f"not checked: {plural(found.remote, 'remote file')}")
    for row in found.unreadable_rows[:SHOWN]:
        click.echo(
            f"  line {row['line']}: {one_line(row['audio'])}: {one_line(row['message'])} ({row['error']})"
        )
    _more(found.unreadable, "unreadable")
    if advice := misplaced_text(found.errors.get("not_found", 0), found.rows, folder):
        click.echo(advice)
    for row in found.duplicate_rows[:SHOWN]:
        click.echo(f"  line {row['line']}: {one_line(row['audio'])}: duplicate")
    _more(found.duplicates, "duplicates")
    how = "measured" if found.rtfx_known else "assumed; not measured yet"
    left = f"{hms(found.seconds_left)} of audio left"
    click.echo(f"{left}, about {hms(found.wall_seconds)} of wall time at {found.rtfx:.1f}x real time ({how})")


def _more(count: int, what: str) -> None:
    if count > SHOWN:
        click.echo(f"  and {count - SHOWN} more {what}; --json lists 200")
