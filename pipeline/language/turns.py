"""Rows in several languages: their windows are split where the language changes.

A window in two languages would be transcribed in one of them, and the decoder would skip the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND
from asr_batch.pipeline.choice import ranked
from asr_batch.pipeline.language.heard import Detect, Utterance, in_utterances
from asr_batch.pipeline.requests import prepared
from asr_batch.pipeline.thresholds import CHANGE_COST, ENOUGH_SPEECH, ENOUGH_TO_TELL, LEAST_CHANCE
from asr_batch.pipeline.windows.planning import SPEECH, Window

_TELLING = ENOUGH_TO_TELL * FRAMES_PER_SECOND

Spoken = tuple[Window, str | None]
"""A window and the language to decode it in."""

Tell = Callable[[Sequence[Utterance], Sequence[Mapping[str, float]], str], Sequence[str | None]]
"""The language of each utterance in another one than that of most of the row, by what is detected in it."""


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
        return self.split(window, in_utterances(window.samples, window.level, window.speech >= SPEECH))

    def split(
        self,
        window: Window,
        utterances: tuple[Sequence[int], Sequence[Samples], Sequence[float]],
        told: Mapping[int, str] | None = None,
    ) -> Iterator[Spoken]:
        """The window split between its `utterances` (see :func:`in_utterances`); `told`: what is known."""
        edges, pieces, seconds = utterances
        chances = list(self.detect(pieces, self.languages))
        for at, code in (told or {}).items():
            chances[at] = {code: 1.0}
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
    tell: Tell

    def parted(self, windows: Iterable[Window]) -> Iterator[Spoken]:
        """The window without a language, or its parts in the languages of its utterances."""
        index = 0
        for window in windows:
            for part, language in self._parts(window):
                yield replace(part, index=index), language
                index += 1

    def _parts(self, window: Window) -> Iterable[Spoken]:
        heard = window.speech >= SPEECH
        _, pieces, seconds = utterances = in_utterances(window.samples, window.level, heard)
        telling = [at for at, spoken in enumerate(seconds) if spoken >= ENOUGH_TO_TELL]
        if len(telling) < 2:
            return [(window, None)]
        samples = prepared(window.samples, window.level, heard)
        whole, *each = self.detect([samples, *(pieces[at] for at in telling)], self.allowed)
        main = ranked(whole)[0][0]
        told = self.tell([(pieces[at], seconds[at]) for at in telling], each, main)
        languages = tuple(dict.fromkeys(code or main for code in told))
        if len(languages) == 1:
            return [(window, None)]
        known = {at: code for at, code in zip(telling, told, strict=True) if code}
        return Turns(languages, self.surely).split(window, utterances, known)


@dataclass(frozen=True, slots=True)
class Opening:
    """A row in one language that begins in another one: `languages`, the row's first."""

    languages: tuple[str, ...]
    detect: Detect

    def parted(self, windows: Iterable[Window]) -> Iterator[Spoken]:
        """The windows in the language of the row, but the first one with speech split."""
        index, begun, turns = 0, False, Turns(self.languages, self.detect)
        for window in windows:
            opens = not begun and bool(np.count_nonzero(window.speech >= SPEECH) >= _TELLING)
            for part, language in turns.parted([window]) if opens else [(window, self.languages[0])]:
                yield replace(part, index=index), language
                index += 1
            begun = begun or opens


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
