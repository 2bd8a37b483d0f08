"""Joins the texts of two windows that overlap at a forced cut.

The last words of the left window are aligned with the first of the right one, on normalised words, at most
eight of each. At worst a join produces a mangled word. It never deletes words that only one side has,
except one word at each window's edge, which the other window contains completely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr_batch.pipeline.text.words import normal

REACH = 8
"""Maximum words of each side that are compared."""

_LONG = 5  # letters from which one common word is sufficient


@dataclass(frozen=True, slots=True)
class Seam:
    """How two texts meet: words to drop from the end of the left and from the start of the right one.

    `sure` is False if they have nothing in common; then nothing is dropped.
    """

    drop_left: int
    drop_right: int
    sure: bool


def find_seam(left: Sequence[str], right: Sequence[str]) -> Seam:
    """Align the words around a forced cut (`left` ends, `right` starts in the same 1.5 s)."""
    tail = [normal(word) for word in left[-REACH:]]
    head = [normal(word) for word in right[:REACH]]
    if not any(tail) or not any(head):
        return Seam(0, 0, not left or not right)
    best: tuple[tuple[int, int], Seam] | None = None
    for i in range(len(tail)):
        for j in range(len(head)):
            length = _common(tail, head, i, j)
            candidate = _candidate(tail, head, i, j, length) if length else None
            if candidate is not None and (best is None or candidate[0] > best[0]):
                best = candidate
    return best[1] if best else Seam(0, 0, False)


def _common(tail: list[str], head: list[str], i: int, j: int) -> int:
    length = 0
    while i + length < len(tail) and j + length < len(head) and tail[i + length] == head[j + length]:
        length += 1
    return length


def _candidate(
    tail: list[str], head: list[str], i: int, j: int, length: int
) -> tuple[tuple[int, int], Seam] | None:
    """The join at the common run tail[i:i+length] = head[j:j+length], with its rank."""
    after, before = len(tail) - i - length, j
    if after > 1 or before > 1:
        return None
    letters = sum(map(len, tail[i : i + length]))
    # A word cut by a window's edge is transcribed in part: its start on the left, its end on the right.
    cut_left = after == 0 or (j + length < len(head) and head[j + length].startswith(tail[-1]))
    cut_right = before == 0 or (i > 0 and tail[i - 1].endswith(head[0]))
    if not ((cut_left and cut_right) or length >= 2 or letters >= _LONG):
        return None
    # The run stays in the left text; the right one continues after it. A partial word at either edge is
    # dropped only because the other window contains the same moment completely.
    return (2 * length - after - before, letters), Seam(after, before + length, True)
