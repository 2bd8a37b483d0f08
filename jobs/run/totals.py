"""Sums over the rows of a data set, updated in constant time per row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asr_batch.jobs.dataset.index import CODES, ENTRY, STATUSES, Entries, entry_of
from asr_batch.jobs.quality import Errors

_QUALITY = ("words", "word_errors", "characters", "character_errors", "scored")
"""The fields of an index entry in the order of :class:`Errors`."""

_PLACE = {name: number for number, name in enumerate(ENTRY.names or ())}


class Totals:
    """Rows by status and error code, seconds, coverage, word errors."""

    def __init__(self) -> None:
        self.status: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.audio_seconds = self.speech_seconds = self.covered_seconds = self.decode_seconds = 0.0
        self.quality = Errors()

    @classmethod
    def of(cls, entries: Entries) -> Totals:
        """The sums over index entries."""
        totals = cls()
        for number, status in enumerate(STATUSES):
            totals.status[status] += int(np.count_nonzero(entries["status"] == number))
        codes, counts = np.unique(entries["code"], return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            if code:
                totals.errors[CODES[code]] += count
        totals.audio_seconds = float(entries["duration"].sum())
        totals.speech_seconds = float(entries["speech"].sum())
        totals.covered_seconds = float((entries["speech"] * entries["coverage"]).sum())
        totals.decode_seconds = float(entries["decode"].sum())
        totals.quality = Errors(*(int(entries[name].sum(dtype=np.int64)) for name in _QUALITY))
        return totals

    @property
    def rows(self) -> int:
        """Rows that have any status."""
        return sum(self.status.values())

    @property
    def coverage(self) -> float:
        """Share of all speech that has text; 1.0 without speech."""
        return self.covered_seconds / self.speech_seconds if self.speech_seconds > 0 else 1.0

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._count(entry_of(row, 0), 1)

    def remove(self, entry: np.void) -> None:
        """Subtract an index entry whose row was replaced."""
        self._count(entry.tolist(), -1)

    def _count(self, entry: Sequence[Any], sign: int) -> None:
        def value(name: str) -> Any:
            return entry[_PLACE[name]]

        self.status[STATUSES[value("status")]] += sign
        if value("code"):
            self.errors[CODES[value("code")]] += sign
        self.audio_seconds += sign * value("duration")
        self.speech_seconds += sign * value("speech")
        self.covered_seconds += sign * value("speech") * value("coverage")
        self.decode_seconds += sign * value("decode")
        errors = Errors(*(value(name) for name in _QUALITY))
        self.quality = self.quality + errors if sign > 0 else self.quality - errors
