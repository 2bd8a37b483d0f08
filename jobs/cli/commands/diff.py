"""`asr-batch diff`: differences between two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_batch.manifests.errors import ConfigError

if TYPE_CHECKING:
    from asr_batch.jobs.views.diff import Change, Difference

EPILOG = """\b
Example:
  asr-batch diff out-old out-new --max-wer-increase 0.5%
"""


def share(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Parse a share such as `0.005` or `0.5%`."""
    if value is None:
        return None
    try:
        number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        number = float("nan")
    if not -10 <= number <= 10:
        raise click.BadParameter(f"{value!r} is not a share; expected one such as 0.005 or 0.5%")
    return number


@click.command(epilog=EPILOG)
@click.argument("dataset_a", metavar="DIR_A", type=click.Path(path_type=Path))
@click.argument("dataset_b", metavar="DIR_B", type=click.Path(path_type=Path))
@click.option(
    "--max-wer-increase",
    metavar="SHARE",
    callback=share,
    help="Exit with code 4 if WER rose by more than this, such as 0.005 or 0.5%.",
)
@click.option(
    "--show", metavar="N", default=20, type=click.IntRange(0), show_default=True, help="Changed rows to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(dataset_a: Path, dataset_b: Path, max_wer_increase: float | None, show: int, as_json: bool) -> None:
    """Compare two data sets: changed rows, and the WER of both.

    Rows are matched by id. References come from DIR_A, or from DIR_B if DIR_A has none. A failed row counts
    as an empty transcript.
    """
    from asr_batch.jobs.views.diff import compare_datasets

    found = compare_datasets(dataset_a, dataset_b, show)
    if as_json:
        click.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        click.echo(f"A (-) {dataset_a}, B (+) {dataset_b}\n{as_text(found)}")
    if max_wer_increase is not None:
        gate(found, max_wer_increase)


def gate(found: Difference, limit: float) -> None:
    """Exit with code 4 if WER rose by more than `limit`. Raises ConfigError if no row has a reference."""
    increase = found.wer_increase
    if increase is None:
        raise ConfigError("--max-wer-increase needs references, but no row in both data sets has one")
    if increase > limit + 1e-12:
        click.echo(f"asr-batch: WER rose by {increase:.2%}, more than the {limit:.2%} allowed", err=True)
        raise SystemExit(4)


def as_text(found: Difference) -> str:
    """Format the comparison for a terminal."""
    both = found.same + found.changed
    lines = [f"{both} rows in both: {found.same} same, {found.changed} changed"]
    if found.only_a or found.only_b:
        lines.append(f"only in A: {found.only_a}, only in B: {found.only_b}")
    if found.errors_a.rows:
        lines += wer_lines(found)
    for change in found.changes:
        lines += ["", *change_lines(change)]
    if found.changed > len(found.changes) > 0:
        lines += ["", f"and {found.changed - len(found.changes)} more changed rows"]
    return "\n".join(lines)


def wer_lines(found: Difference) -> list[str]:
    """WER and CER of both runs, and the number of better and worse rows."""
    a, b = found.errors_a, found.errors_b
    return [
        f"WER {a.wer:.2%} -> {b.wer:.2%} ({b.wer - a.wer:+.2%}), CER {a.cer:.2%} -> {b.cer:.2%},"
        f" over {a.rows} rows with a reference",
        f"B better in {found.wins}, worse in {found.losses}, equal in {found.ties} changed rows",
    ]


def change_lines(change: Change) -> list[str]:
    """The lines of one changed row."""
    head = printable(change.id)
    if change.status_a != change.status_b:
        head += f"  {change.status_a} -> {change.status_b}"
    if change.wer_a is not None and change.wer_b is not None:
        head += f"  WER {change.wer_a:.1%} -> {change.wer_b:.1%}"
    before, after = excerpts(printable(change.text_a), printable(change.text_b))
    return [head, f"  - {before}", f"  + {after}"]


def excerpts(a: str, b: str, limit: int = 300) -> tuple[str, str]:
    """At most `limit` characters of each text; of long ones, from shortly before their first difference."""
    differs = next(
        (place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    start = max(0, differs - 60) if max(len(a), len(b)) > limit else 0
    return excerpt(a, start, limit), excerpt(b, start, limit)


def excerpt(text: str, start: int, limit: int) -> str:
    """`limit` characters of the text, with an ellipsis for what is left out on either side."""
    return "…" * (start > 0) + text[start : start + limit] + "…" * (start + limit < len(text))


def printable(text: str) -> str:
    """The text with control characters replaced, because they could control the terminal."""
    return "".join(char if char.isprintable() else "�" for char in " ".join(text.split()))
