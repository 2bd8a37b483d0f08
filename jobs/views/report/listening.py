"""The windows of a data set to listen to first: speech without text, flags, low confidence."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from asr_batch.jobs.dataset.reading import stream

Row = Mapping[str, Any]

WEIGHTS = {
    "uncovered": 3.0,
    "failed": 3.0,
    "suspect_hallucination": 2.5,
    "repetition": 2.0,
    "truncated": 2.0,
    "prompt_echo": 2.0,
    "low_logprob": 1.5,
    "too_dense": 1.5,
    "recovered": 0.5,
    "fallback_encoder": 0.3,
    "fallback_provider": 0.3,
    "approximate_words": 0.0,
    "silence": 0.0,
}
"""How strongly each flag suggests listening to a window."""
LEFT_OUT = 0.1
"""The same for a window whose text was left out, where the audit finds no speech either."""

DETAILS = (
    "id",
    "index",
    "start",
    "end",
    "text",
    "channel",
    "avg_logprob",
    "flags",
    "uncovered",
    "speech",
    "hypotheses",
)


class Worst:
    """Keeps which `count` windows are the worst of those added."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[float, str, int]] = []

    def add(self, window: Row) -> None:
        """Look at a window."""
        badness = badness_of(window)
        if self._count and badness > 0:
            heapq.heappush(self._heap, (badness, window["id"], window["index"]))
            if len(self._heap) > self._count:
                heapq.heappop(self._heap)

    def read(self, windows: ds.Dataset, transcripts: ds.Dataset) -> list[dict[str, Any]]:
        """The windows kept, worst first, with all that is shown of them and the `audio` of their rows."""
        worst = sorted(self._heap, reverse=True)
        order = {(row_id, index): rank for rank, (_, row_id, index) in enumerate(worst)}
        if not order:
            return []
        where = pc.field("id").isin(sorted({row_id for row_id, _ in order}))
        details = (dict(window) for window in stream(windows, DETAILS, where=where))
        chosen = [window for window in details if (window["id"], window["index"]) in order]
        _attach_audio(chosen, transcripts)
        return sorted(chosen, key=lambda window: order[window["id"], window["index"]])


def confidence(avg_logprob: float) -> float:
    """The geometric mean of the token probabilities; 1.0 is certain."""
    return math.exp(min(0.0, avg_logprob)) if math.isfinite(avg_logprob) else 0.0


def badness_of(window: Row) -> float:
    """A score for listening to a window: flags, speech without text, low confidence."""
    flags: Iterable[str] = window.get("flags") or ()
    bad: float = sum(WEIGHTS.get(flag, 0.2) for flag in flags)
    if not window.get("text") and not window.get("uncovered"):
        return LEFT_OUT * bad
    bad += min(3.0, sum(span["end"] - span["start"] for span in window.get("uncovered") or ()))
    if window.get("text") and window.get("avg_logprob") is not None:
        bad += 2.0 * (1.0 - confidence(window["avg_logprob"]))
    return bad


def _attach_audio(windows: Sequence[dict[str, Any]], transcripts: ds.Dataset) -> None:
    """Give each window the `audio` of its row."""
    ids = sorted({window["id"] for window in windows})
    if not ids:
        return
    audio = {
        row["id"]: row["audio"] for row in stream(transcripts, ("id", "audio"), pc.field("id").isin(ids))
    }
    for window in windows:
        window["audio"] = audio.get(window["id"])
