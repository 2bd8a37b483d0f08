"""Rows in several languages: their windows are split where the language changes.

A window in two languages would be transcribed in one of them, and the decoder would skip the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.guards import prepared
from asr_batch.pipeline.retry.hearing import utterances
from asr_batch.pipeline.thresholds import CHANGE_COST, ENOUGH_SPEECH, LEAST_CHANCE, PAUSE
from asr_batch.pipeline.windows.planning import SPEECH, Window

Detect = Callable[[Sequence[Samples], Sequence[str]], Sequence[Mapping[str, float]]]
"""Probability of each given language in each given window."""

Spoken = tuple[Window, str | None]
"""A window and the language to decode it in."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The `languages` of a row, which alternate."""

    languages: tuple[str, ...]
    detect: Detect

    def parted(self, windows: Iterable[Window]) -> Iterator[Spoken]:
        """The windows, split between utterances of different languages, and numbered again."""
        index = 0
        for window in windows:
            for part, language in self._parts(window):
                yield replace(part, index=index), language
                index += 1

    def _parts(self, window: Window) -> Iterator[Spoken]:
        heard = window.speech >= SPEECH
        edges, pieces, seconds = in_utterances(window.samples, window.level, heard)
        chances = self.detect(pieces, self.languages)
        spoken = best_turns([[row.get(code, 0.0) for code in self.languages] for row in chances], seconds)
        place = 0
        for number, group in groupby(spoken):
            first, place = place, place + len(list(group))
            yield _cut_out(window, edges[first], edges[place]), self.languages[number]


def in_utterances(
    samples: Samples, level: Float32, speech: Mask
) -> tuple[list[int], list[Samples], list[float]]:
    """The utterances of a window: their edges in frames, their samples as for decoding, and their seconds of
    speech.
    """
    edges = utterances(level, speech, PAUSE, 0, len(level))
    parts = list(pairwise(edges))
    pieces = [prepared(samples[a * FRAME : b * FRAME], level[a:b], speech[a:b]) for a, b in parts]
    return edges, pieces, [np.count_nonzero(speech[a:b]) / FRAMES_PER_SECOND for a, b in parts]


def best_turns(chances: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[int]:
    """The language (its index in the rows of `chances`) of each utterance.

    Finds the most likely sequence, with CHANGE_COST for each change. Utterances with less than
    ENOUGH_SPEECH `seconds` of speech count less.
    """
    weights = np.minimum(np.array(seconds) / ENOUGH_SPEECH, 1.0)
    scores = np.log(np.maximum(np.array(chances, np.float64), LEAST_CHANCE)) * weights[:, None]
    change = CHANGE_COST * (1 - np.eye(scores.shape[1]))
    before: list[NDArray[np.int64]] = []
    total = scores[0]
    for row in scores[1:]:
        ways = total - change  # [language now, previous language]
        before.append(ways.argmax(axis=1))
        total = ways.max(axis=1) + row
    path = [int(total.argmax())]
    for came_from in reversed(before):
        path.append(int(came_from[path[-1]]))
    return path[::-1]


def _cut_out(window: Window, first: int, last: int) -> Window:
    """Frames [first, last) of a window as a window that ends in silence, except at its own end."""
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
