"""`asr-batch doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from asr_batch.workers.doctor import Check, NodeLine

MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}


@click.command(
    epilog="\b\nExamples:\n  asr-batch doctor\n  asr-batch doctor --address auto --audio /mnt/recordings"
)
@click.option("--address", metavar="ADDRESS", help="Check a Ray cluster: auto or HOST:PORT.")
@click.option("--audio", multiple=True, metavar="PATH", help="File or folder that must be readable.")
@click.option(
    "--model",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Bundle that should have a HEF for this NPU.",
)
@click.option("--insecure-cluster", is_flag=True, help="Accept a Ray cluster without authentication.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def doctor(
    address: str | None, audio: tuple[str, ...], model: Path | None, insecure_cluster: bool, as_json: bool
) -> None:
    """Check this machine, or a cluster, for problems.

    With --address, checks every node of a Ray cluster. Exit code 0 if a job can run, 3 if not.
    """
    if address in (None, "local"):
        good = _machine(audio, model, as_json)
    else:
        assert address is not None
        good = _cluster(address, audio, insecure_cluster, as_json)
    sys.exit(0 if good else 3)


def _machine(audio: Sequence[str], model: Path | None, as_json: bool) -> bool:
    from asr_batch.workers.doctor import here

    checks = []
    for check in here(audio, model):
        checks.append(check)
        click.echo(json.dumps(asdict(check)) if as_json else _row(check))
    return all(check.state != "bad" for check in checks)


def _row(check: Check) -> str:
    return f"{MARKS[check.state]}  {check.name:<14} {check.text}"


def _cluster(address: str, audio: Sequence[str], insecure: bool, as_json: bool) -> bool:
    from asr_batch.workers.doctor import cluster_nodes

    lines = cluster_nodes(address, audio, insecure)
    for line in lines:
        click.echo(json.dumps(asdict(line)) if as_json else _node(line, audio))
    return all(line.fits for line in lines)


def _node(line: NodeLine, audio: Sequence[str]) -> str:
    from asr_batch.workers.doctor import summary

    mark = MARKS["ok" if line.fits else "bad"]
    told = [f"{mark}  {line.name} ({line.address}), {line.workers} workers: {summary(line)}"]
    for path, seen in zip(audio, line.audio, strict=False):
        how = "read there" if seen else "not visible there; the driver sends the files with the work"
        told.append(f"      {path}: {how}")
    return "\n".join(told)
