"""A row in which several languages are spoken: its windows are parted where the language changes.

A window of two languages would be written in one of them, and the decoder skips what is said in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND
from asr_batch.pipeline.retry.hearing import utterances
from asr_batch.pipeline.thresholds import CHANGE_COST, ENOUGH_SPEECH, LEAST_CHANCE, PAUSE
from asr_batch.pipeline.windows.planning import SPEECH, Window

Detect = Callable[[Sequence[Samples], Sequence[str]], Sequence[Mapping[str, float]]]
"""The chance of each of some languages in each of some windows."""

Spoken = tuple[Window, str | None]
"""A window and the language to decode it in."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The `languages` that are spoken in a row in turn."""

    languages: tuple[str, ...]
    detect: Detect

    def parted(self, windows: Iterable[Window]) -> Iterator[Spoken]:
        """The windows, parted between utterances of different languages, and numbered again."""
        index = 0
        for window in windows:
            for part, language in self._parts(window):
                yield replace(part, index=index), language
                index += 1

    def _parts(self, window: Window) -> Iterator[Spoken]:
        heard = window.speech >= SPEECH
        edges = utterances(window.level, heard, PAUSE, 0, len(window.level))
        pieces = [window.samples[a * FRAME : b * FRAME] for a, b in pairwise(edges)]
        seconds = [np.count_nonzero(heard[a:b]) / FRAMES_PER_SECOND for a, b in pairwise(edges)]
        chances = self.detect(pieces, self.languages)
        spoken = likeliest_turns(
            [[row.get(code, 0.0) for code in self.languages] for row in chances], seconds
        )
        place = 0
        for number, group in groupby(spoken):
            first, place = place, place + len(list(group))
            yield _cut_out(window, edges[first], edges[place]), self.languages[number]


def likeliest_turns(chances: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[int]:
    """The language (its place in the rows of `chances`) of each utterance: those that are likeliest together,
    each change costing CHANGE_COST. Utterances of less than ENOUGH_SPEECH `seconds` of speech count less.
    """
    weights = np.minimum(np.array(seconds) / ENOUGH_SPEECH, 1.0)
    scores = np.log(np.maximum(np.array(chances, np.float64), LEAST_CHANCE)) * weights[:, None]
    change = CHANGE_COST * (1 - np.eye(scores.shape[1]))
    before: list[NDArray[np.int64]] = []
    total = scores[0]
    for row in scores[1:]:
        ways = total - change  # [language now, language before]
        before.append(ways.argmax(axis=1))
        total = ways.max(axis=1) + row
    path = [int(total.argmax())]
    for came_from in reversed(before):
        path.append(int(came_from[path[-1]]))
    return path[::-1]


def _cut_out(window: Window, first: int, last: int) -> Window:
    """Frames [first, last) of a window as a window that ends in silence, unless the whole one ends there."""
    ends = last >= len(window.level)
    return replace(
        window,
        start=window.start + first * FRAME,
        end=window.end if ends else window.start + last * FRAME,
        cut=window.cut if ends else "silence",
        samples=window.samples[first * FRAME : None if ends else last * FRAME],
        level=window.level[first:last],
        speech=window.speech[first:last],
    )
