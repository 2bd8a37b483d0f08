"""Compares two data sets of the same audio: which rows changed, and which data set has fewer errors."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from asr_batch.jobs.dataset.reading import stream
from asr_batch.jobs.dataset.tables import open_transcripts
from asr_batch.jobs.quality import COUNTS, Errors, compare, errors_of, said

COLUMNS = ("id", "status", "text", "language", "reference", *COUNTS)


@dataclass(frozen=True, slots=True)
class Side:
    """What is kept of a row of A: a hash of its text, and the text itself if only B has the reference."""

    digest: bytes
    status: str
    reference: str | None
    language: str | None
    errors: Errors | None
    text: str | None = None

    def scored(self, reference: str | None) -> Errors | None:
        """The errors against the row's own reference, or else against another one."""
        if self.errors is not None or reference is None or self.text is None:
            return self.errors
        return compare(reference, self.text, self.language)


@dataclass(frozen=True, slots=True)
class Change:
    """A row whose outcome changed; `gain` is the decrease of its WER, None without a reference."""

    id: str
    status_a: str
    status_b: str
    wer_a: float | None
    wer_b: float | None
    text_a: str = ""
    text_b: str = ""

    @property
    def gain(self) -> float | None:
        """WER in A minus WER in B: positive if B is better."""
        return None if self.wer_a is None or self.wer_b is None else self.wer_a - self.wer_b


@dataclass(slots=True)
class Difference:
    """The outcome of a comparison of A with B.

    WER is pooled over the rows that both hold and that have a reference. A failed row counts as an empty
    transcript, so failing cannot pass for improving. `changes` are the largest, worst first.
    """

    rows_a: int = 0
    rows_b: int = 0
    only_a: int = 0
    only_b: int = 0
    same: int = 0
    changed: int = 0
    wins: int = 0
    losses: int = 0
    ties: int = 0
    errors_a: Errors = field(default_factory=Errors)
    errors_b: Errors = field(default_factory=Errors)
    changes: list[Change] = field(default_factory=list)

    @property
    def wer_increase(self) -> float | None:
        """WER of B minus WER of A; None if no row was scored in both."""
        return self.errors_b.wer - self.errors_a.wer if self.errors_a.rows else None

    def as_dict(self) -> dict[str, Any]:
        """The output of `--json`."""
        counts = ("rows_a", "rows_b", "only_a", "only_b", "same", "changed", "wins", "losses", "ties")
        scored = self.errors_a.rows
        return {
            **{name: getattr(self, name) for name in counts},
            "scored": scored,
            "wer_a": self.errors_a.wer if scored else None,
            "wer_b": self.errors_b.wer if scored else None,
            "cer_a": self.errors_a.cer if scored else None,
            "cer_b": self.errors_b.cer if scored else None,
            "wer_increase": self.wer_increase,
            "changes": [_change_dict(change) for change in self.changes],
        }


def _change_dict(change: Change) -> dict[str, Any]:
    names = ("id", "status_a", "status_b", "wer_a", "wer_b", "text_a", "text_b")
    return {name: getattr(change, name) for name in names}


def compare_datasets(a: Path, b: Path, shown: int = 20) -> Difference:
    """Compare two data sets by row id, keeping the texts of `shown` changes.

    Raises ConfigError for a folder that is not a data set.
    """
    first, second = open_transcripts(a), open_transcripts(b)
    keep = _has_references(second)
    sides = {row["id"]: _side(row, row.get("reference"), keep) for row in stream(first, COLUMNS)}
    found = Difference(rows_a=len(sides))
    worst: list[tuple[tuple[float, str], Change]] = []
    for row in stream(second, COLUMNS):
        found.rows_b += 1
        change = _meet(found, sides.pop(row["id"], None), row)
        if change is not None and shown:
            heapq.heappush(worst, (_rank(change), change))
            if len(worst) > shown:
                heapq.heappop(worst)
    found.only_a = len(sides)
    found.changes = _with_texts([change for _, change in sorted(worst, reverse=True)], first, second)
    return found


def _has_references(dataset: ds.Dataset) -> bool:
    return bool(
        "reference" in dataset.schema.names and dataset.count_rows(filter=pc.field("reference").is_valid())
    )


def _side(
    row: Mapping[str, Any], reference: str | None, keep: bool = False, known: Side | None = None
) -> Side:
    """Condense a row; reuses the errors of `known` if it has the same text."""
    text = said(row)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    same = (digest, reference, row.get("language"))
    if reference is not None and reference == row.get("reference"):
        errors = errors_of(row)
    elif known is not None and same == (known.digest, known.reference, known.language):
        errors = known.errors
    else:
        errors = None if reference is None else compare(reference, text, row.get("language"))
    kept = text if keep and reference is None else None
    return Side(digest, row["status"], reference, row.get("language"), errors, kept)


def _meet(found: Difference, before: Side | None, row: Mapping[str, Any]) -> Change | None:
    """Count a row of B with its row of A (or None); returns the change, if any."""
    if before is None:
        found.only_b += 1
        return None
    reference = row.get("reference") if before.reference is None else before.reference
    after = _side(row, reference, known=before)
    scored = before.scored(reference), after.errors
    if scored[0] is not None and scored[1] is not None:
        found.errors_a += scored[0]
        found.errors_b += scored[1]
    if (before.digest, before.status) == (after.digest, after.status):
        found.same += 1
        return None
    found.changed += 1
    _judge(found, *scored)
    wers = [None if errors is None else errors.wer for errors in scored]
    return Change(row["id"], before.status, after.status, wers[0], wers[1])


def _judge(found: Difference, before: Errors | None, after: Errors | None) -> None:
    """Count a changed row as better, worse or neither by its word errors."""
    if before is None or after is None:
        return
    found.wins += after.word_errors < before.word_errors
    found.losses += after.word_errors > before.word_errors
    found.ties += after.word_errors == before.word_errors


def _rank(change: Change) -> tuple[float, str]:
    """Sort key: losses first, then changes of status, then gains by size; the id makes it stable."""
    gain = change.gain
    if gain is None:
        return (1.0 if change.status_a != change.status_b else 0.0), change.id
    return (-gain * 10 if gain < 0 else gain), change.id


def _with_texts(changes: list[Change], first: ds.Dataset, second: ds.Dataset) -> list[Change]:
    ids = [change.id for change in changes]
    texts_a, texts_b = (dict(_texts(side, ids)) for side in (first, second))
    return [
        Change(c.id, c.status_a, c.status_b, c.wer_a, c.wer_b, texts_a.get(c.id, ""), texts_b.get(c.id, ""))
        for c in changes
    ]


def _texts(side: ds.Dataset, ids: list[str]) -> Iterator[tuple[str, str]]:
    if ids:
        for row in stream(side, ("id", "text"), where=pc.field("id").isin(ids)):
            yield row["id"], row["text"] or ""
