"""Rows in several languages: their windows are split where the language changes.

A window in two languages would be transcribed in one of them, and the decoder would skip the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr_batch.pipeline.audio.frames import FRAME
from asr_batch.pipeline.choice import clarity
from asr_batch.pipeline.language.heard import Detect, Heard, heard_in, in_utterances
from asr_batch.pipeline.thresholds import (
    CHANGE_COST,
    CLEAR_CHANCE,
    ENOUGH_SPEECH,
    LEAST_CHANCE,
    MOST_LANGUAGES,
    TURN_CHANCE,
)
from asr_batch.pipeline.windows.planning import SPEECH, Window

Spoken = tuple[Window, str | None]
"""A window and the language to decode it in."""


class Parting(Protocol):
    """Decides in which language each window is decoded, and splits those in several."""

    def parted(self, windows: Iterable[Window]) -> Iterator[Spoken]:
        """The windows or parts of them, numbered again, and their language (None: the decoder detects it)."""


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


@dataclass(frozen=True, slots=True)
class OneWindow:
    """A row of one window, in a language of `allowed` (empty: any) that the decoder detects.

    Only a window of several utterances can have several languages: these are detected first. `surely` is as
    `detect`, slower, and right more often.
    """

    allowed: tuple[str, ...]
    detect: Detect
    surely: Detect

    def parted(self, windows: Iterable[Window]) -> Iterator[Spoken]:
        """The window without a language, or its parts in the languages of its utterances."""
        index = 0
        for window in windows:
            languages = self._languages(window)
            turns = Turns(languages, self.surely) if len(languages) > 1 else None
            for part, language in turns.parted([window]) if turns else [(window, None)]:
                yield replace(part, index=index), language
                index += 1

    def _languages(self, window: Window) -> tuple[str, ...]:
        """The languages of the utterances, if the whole is unclear."""
        heard = Heard(window.samples, window.level, window.speech >= SPEECH)
        pieces = [piece for piece, _ in heard.utterances()]
        if len(pieces) < 2:
            return ()
        (whole,) = self.detect([heard.prepared()], self.allowed)
        if clarity(whole) >= CLEAR_CHANCE:
            return ()
        spoken = heard_in(self.detect(pieces, self.allowed), TURN_CHANCE)
        ranked = sorted(spoken, key=lambda code: (-whole.get(code, 0.0), code))
        return tuple(ranked[:MOST_LANGUAGES])


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
