"""Joins the texts of two windows that overlap at a forced cut.

With word positions, the left text ends and the right one begins where their words meet in time, far from both
edges of the overlap, where words are torn or guessed. Words that the windows hear differently match as well.

Without positions, the last words of the left window are aligned with the first of the right one, on
normalised words, at most eight of each. It never deletes words that only one side has, except one word at
each window's edge, which the other window contains completely.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, pairwise, product, zip_longest

from asr_batch.models.recognizer import TimedText
from asr_batch.pipeline.text.words import normal, similarity

REACH = 8
"""Maximum words of each side that are compared."""

_LONG = 5  # letters from which one common word is sufficient

# Cost of a join, in seconds. Twice or half of each changes the errors by less than 1 % (docs/audit.md).
_FROM_MIDDLE = 0.6  # per second from the middle of the overlap
_ALONE = 0.03  # per letter of a dropped word that the other text does not have
_DEAR = 0.5  # cost from which the texts do not fit together

_ALIKE = 0.5  # similarity from which two words are one word heard differently


@dataclass(frozen=True, slots=True)
class Seam:
    """How two texts meet: words to drop from the end of the left and from the start of the right one.

    `sure` is False if they do not fit together. `at`: the second where they meet, if the words' times tell.
    """

    drop_left: int
    drop_right: int
    sure: bool
    at: float | None = None


def meet(left: Sequence[TimedText], right: Sequence[TimedText], overlap: tuple[float, float]) -> Seam:
    """Join two texts, neither of them empty, whose windows share `overlap`; all times on one clock."""
    joins = list(_joins(left[-REACH:], right[:REACH], sum(overlap) / 2))
    cost, drop_left, drop_right, at = min(joins)
    return Seam(drop_left, drop_right, cost < _DEAR, at)


def _joins(
    tail: Sequence[TimedText], head: Sequence[TimedText], middle: float
) -> Iterator[tuple[float, int, int, float]]:
    """Of each way to join: its cost, the words dropped from both sides, and where they meet."""
    one, two = ([normal(word.text) for word in words] for words in (tail, head))
    ends, starts = _borders(tail), _borders(head)
    for i, j in product(range(len(tail), -1, -1), range(len(head) + 1)):
        alone = _unmatched(one[i:], two[j:]) + _unmatched(reversed(two[:j]), reversed(one[:i]))
        at = (ends[i] + starts[j]) / 2
        cost = abs(ends[i] - starts[j]) + _FROM_MIDDLE * abs(at - middle) + _ALONE * alone
        yield cost, len(tail) - i, j, at


def _borders(words: Sequence[TimedText]) -> list[float]:
    """The second before each word, and after the last one."""
    inner = [(left.end + right.start) / 2 for left, right in pairwise(words)]
    return [words[0].start, *inner, words[-1].end]


def _unmatched(dropped: Iterable[str], kept: Iterable[str]) -> int:
    """Letters of dropped words after the last one that resembles the kept one at its place."""
    pairs = zip_longest(dropped, kept)
    left = dropwhile(lambda pair: bool(pair[0] and pair[1]) and similarity(*pair) >= _ALIKE, pairs)
    return sum(len(word or "") for word, _ in left)


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
