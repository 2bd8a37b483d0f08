"""`asr-batch verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from asr_batch.jobs.cli.options import checked, run_options

SHOWN = 50


@click.command(epilog="Example:  asr-batch verify out/demo --sample 5%")
@click.argument("folder", metavar="DIR")
@click.option("--sample", metavar="P%|N", help="Transcribe a random sample again and compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of the sample.")
@click.option("--audio/--no-audio", default=True, help="Compare the audio files with their hashes.")
@run_options("address", "workers", "no_ray", "batch_size", "threads", "quiet")
def verify(folder: str, sample: str | None, seed: int, audio: bool, **given: Any) -> None:
    """Check the integrity of data set DIR.

    Checks files, schema, unique rows, the tiling of windows, coverage and audio hashes. Exit code 0 if all
    checks pass, 4 otherwise.
    """
    options = checked(given)
    root = Path(folder)
    problems = _problems(root, audio)
    if sample is not None:
        problems = chain(problems, _again(root, sample, seed, options))
    found = list(islice(problems, 1000))
    for problem in found[:SHOWN]:
        click.echo(problem)
    if len(found) > SHOWN:
        click.echo(f"and {len(found) - SHOWN} more")
    if not found and not options.get("quiet"):
        click.echo(f"{folder}: all checks passed")
    sys.exit(4 if found else 0)


def _problems(root: Path, audio: bool) -> Iterator[str]:
    from asr_batch.jobs.dataset import verify as checks
    from asr_batch.jobs.dataset.job_file import load_job, stored_manifest
    from asr_batch.jobs.dataset.summary import find_summary
    from asr_batch.manifests.errors import ManifestError

    job = load_job(root)
    broken = list(checks.check_dataset_files(root))
    yield from broken
    if broken:
        return
    yield from checks.check_rows(root)
    yield from checks.check_summary(find_summary(root), checks.count_rows(root))
    if audio:
        try:
            places = {item.id: item.location for item in stored_manifest(job).rows()}
        except ManifestError:
            click.echo("the manifest no longer exists, so audio hashes were not compared", err=True)
            return
        yield from checks.check_audio(root, places)


def _again(root: Path, sample: str, seed: int, options: dict[str, Any]) -> Iterator[str]:
    from asr_batch.jobs.config.build import from_job
    from asr_batch.jobs.config.fingerprint import Settings
    from asr_batch.jobs.console.messages import plural
    from asr_batch.jobs.console.signals import stop_signals
    from asr_batch.jobs.dataset.job_file import load_job, stored_manifest
    from asr_batch.jobs.dataset.tables import open_transcripts
    from asr_batch.jobs.run.pools import start_pool
    from asr_batch.jobs.run.sampling import choose, compare, sample_size, sampled_items, transcribe_again

    job = load_job(root)
    config = from_job(job.options, **{"workers": None, **options})
    rows = open_transcripts(root).to_table(columns=["id", "status"]).to_pylist()
    ids = [row["id"] for row in rows if row["status"] in ("ok", "empty", "partial")]
    chosen = choose(ids, sample_size(sample, len(ids)), seed)
    if not chosen:
        return
    with stop_signals() as stop:
        pool = start_pool(config, Path(job.model.path))
        try:
            items = sampled_items(stored_manifest(job), chosen)
            again = transcribe_again(items, pool, Settings(job.settings), config, stop)
            yield from compare(root, again, pool.info.sha256, partial(click.echo, err=True))
        finally:
            pool.close()
        if stop.exit_code is not None:
            sys.exit(stop.exit_code)
    click.echo(f"{plural(len(again), 'row')} transcribed again", err=True)
