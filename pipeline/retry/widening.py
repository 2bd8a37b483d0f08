"""Neighbouring windows with unlikely texts are decoded once more, as one longer window.

A short window does not hear what is said around it. Where the model knows the language badly, or the
recording is noisy, that costs many words (docs/retries.md). There texts are unlikely. Those of clear speech
in a language that the model knows are not, so that such recordings cost nothing more.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.decoding import decode, one_by_one
from asr_batch.pipeline.outcomes import Outcome, hypothesis
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.attempts import Attempts, DecodedTrack
from asr_batch.pipeline.retry.doubtful import SPOILT
from asr_batch.pipeline.retry.hearing import Listener, as_one
from asr_batch.pipeline.retry.scheduler import samples_of
from asr_batch.pipeline.text.words import letters
from asr_batch.pipeline.thresholds import AS_MUCH, UNLIKELY, UNLIKELY_BESIDE

Group = list[DecodedWindow]


class Widening(Attempts[Outcome]):
    """Decodes groups of windows of a track as windows of up to `longest` seconds; the more likely texts win.

    A group depends on the track's first texts alone, so results may come back in any order. Its index is
    that of its first window.
    """

    def __init__(self, track: DecodedTrack, listener: Listener, longest: float) -> None:
        super().__init__(track)
        self._listener = listener
        self._groups = {group[0].index: group for group in groups(track.windows, longest)}
        self._joined = {index: together(group) for index, group in self._groups.items()}
        self._wider: dict[int, DecodedWindow] = {}
        self._begin(self._groups)
        if not self._running:
            self._go_on()

    @property
    def changes(self) -> bool:
        """Whether any windows are decoded better together."""
        return bool(self._wider)

    @property
    def windows(self) -> list[DecodedWindow]:
        """The windows of the track, with one for each group that has a likelier text together."""
        found, gone = list[DecodedWindow](), set[int]()
        for window in self._track.windows:
            wider = self._wider.get(window.index)
            if wider is not None:
                gone.update(one.index for one in self._groups[window.index][1:])
            if window.index not in gone:
                found.append(replace(wider or window, index=len(found)))
        return found

    def _go_on(self) -> None:
        self.finished = True
        self.close()

    def _attempt(self, index: int, reader: Rereader) -> Generator[DecodeRequest, WindowResult, Outcome]:
        wider = self._joined[index]
        language = _result(self._groups[index][0]).language if self._listener.choice else None
        base = self._listener.base
        base = replace(base, language=language or base.language, cpu_encoder=True)  # an NPU takes one length
        samples = samples_of(wider, reader)
        return one_by_one(decode(samples, base, self._listener.options, wider.heard_seconds, None))

    def _take(self, index: int, found: Outcome) -> None:
        """Keep the more likely texts; the others become hypotheses."""
        apart = as_one([_result(window) for window in self._groups[index]])
        if is_better(apart, found):
            others = (hypothesis("apart", apart), *found.others)
            outcome = replace(found, flags=found.flags | {"recovered"}, others=others)
            self._wider[index] = replace(self._joined[index], outcome=outcome)


def groups(windows: Sequence[DecodedWindow], longest: float) -> list[Group]:
    """Neighbours to decode together, at most `longest` seconds: a text is unlikely, and none is sure."""
    found: list[Group] = []
    for run in filter(None, _runs(windows)):
        total = sum(window.seconds for window in run)
        share = total / np.ceil(total / longest)  # of about equal length
        found.append([])
        for window in run:
            length = sum(one.seconds for one in found[-1])
            if found[-1] and (length >= share or length + window.seconds > longest):
                found.append([])
            found[-1].append(window)
    return [
        group
        for group in found
        if len(group) > 1 and any(_result(window).avg_logprob < UNLIKELY for window in group)
    ]


def _runs(windows: Sequence[DecodedWindow]) -> Iterator[Group]:
    """Neighbours of which no text is sure, in one language, without overlaps."""
    run: Group = []
    for window in windows:
        if not _is_unsure(window):
            yield run
            run = []
        elif run and (run[-1].end != window.start or _result(run[-1]).language != _result(window).language):
            yield run
            run = [window]
        else:
            run = [*run, window]
    yield run


def _is_unsure(window: DecodedWindow) -> bool:
    outcome = window.outcome
    if outcome is None or outcome.result.error is not None or window.unspoken:
        return False
    return bool(outcome.result.text) and outcome.result.avg_logprob < UNLIKELY_BESIDE


def _result(window: DecodedWindow) -> WindowResult:
    assert window.outcome is not None
    return window.outcome.result


def together(group: Sequence[DecodedWindow]) -> DecodedWindow:
    """Neighbouring windows as one, without a text."""
    level, speech = (np.concatenate([getattr(one, name) for one in group]) for name in ("level", "speech"))
    first, last = group[0], group[-1]
    return DecodedWindow(first.index, first.start, last.end, last.cut, level, speech)


def is_better(apart: WindowResult, outcome: Outcome) -> bool:
    """Whether a text is sound, about as long as those of the windows `apart`, and likelier."""
    new, stood = outcome.result, letters(apart.text)
    sound = new.error is None and not outcome.flags & SPOILT
    as_long = AS_MUCH * stood <= letters(new.text) <= stood / AS_MUCH
    return sound and as_long and new.avg_logprob > apart.avg_logprob
