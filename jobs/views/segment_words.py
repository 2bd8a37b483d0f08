"""Assigns a row's words to its segments, by text and not only by time.

Word times come from the decoder's attention, segment times from timestamp tokens or the surrounding speech,
so words at the edges of a segment often lie slightly outside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from asr_batch.pipeline.text.words import normal, normal_words

AHEAD = 8
"""How many segments are considered for the next word: neighbours, and other channels at the same time."""

LATE = 5.0
"""Seconds after its end in which a segment may still receive a word."""

Piece = Mapping[str, Any]


def by_segment(
    segments: Sequence[Piece], words: Sequence[Piece] | None
) -> list[tuple[Piece, list[Piece] | None]]:
    """Every segment with its words in order (None if the row has no words); no word is dropped."""
    if words is None:
        return [(segment, None) for segment in segments]
    found = _Segments(segments)
    ordered = sorted(words, key=lambda word: float(word["start"]))
    if not found.in_turn(ordered):
        for word in ordered:
            found.add(word)
    return list(zip(segments, found.words, strict=True))


class _Segments:
    """Segments by start, each with the words it still expects."""

    def __init__(self, segments: Sequence[Piece]) -> None:
        self.words: list[list[Piece]] = [[] for _ in segments]
        self._segments = segments
        self._waiting = [normal_words(segment["text"] or "") for segment in segments]
        self._order = sorted(range(len(segments)), key=lambda i: float(segments[i]["start"]))
        self._starts = [float(segments[i]["start"]) for i in self._order]
        self._first = 0

    def in_turn(self, words: Sequence[Piece]) -> bool:
        """Assign all words in order, if the segments' texts, concatenated, are exactly these words."""
        said = [text for index in self._order for text in self._waiting[index]]
        if said != [text for text in (normal(word["word"]) for word in words) if text]:
            return False
        owners = deque(index for index in self._order for _ in self._waiting[index])
        for word in words:
            index = owners[0] if owners else self._order[-1] if self._order else None
            if index is not None:
                self.words[index].append(word)
            if normal(word["word"]):
                owners.popleft()
        return True

    def add(self, word: Piece) -> None:
        """Assign the word to the nearest segment that expects it, or else to the nearest one."""
        if not self._segments:
            return
        text = normal(word["word"])
        near = [i for i in self._candidates(float(word["start"])) if self._waiting[i][0] == text]
        index = min(near, key=lambda i: _distance(word, self._segments[i]), default=None)
        if index is None:
            self.words[self._nearest(word)].append(word)
            return
        self.words[index].append(word)
        del self._waiting[index][0]

    def _candidates(self, at: float) -> list[int]:
        """The first few segments that expect words and ended not long ago."""
        while self._first < len(self._order) and self._done(self._order[self._first], at):
            self._first += 1
        return [i for i in self._order[self._first : self._first + AHEAD] if self._waiting[i]]

    def _done(self, index: int, at: float) -> bool:
        return not self._waiting[index] or float(self._segments[index]["end"]) < at - LATE

    def _nearest(self, word: Piece) -> int:
        place = bisect_right(self._starts, float(word["start"]))
        index: int = min(
            self._order[max(0, place - AHEAD) : place + 1], key=lambda i: _distance(word, self._segments[i])
        )
        # The segment no longer expects the words before this one: its text has them differently or not at
        # all.
        text = normal(word["word"])
        if text in self._waiting[index]:
            del self._waiting[index][: self._waiting[index].index(text) + 1]
        return index


def _distance(word: Piece, segment: Piece) -> float:
    middle = (float(word["start"]) + float(word["end"])) / 2
    return max(float(segment["start"]) - middle, middle - float(segment["end"]), 0.0)
