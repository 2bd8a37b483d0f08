"""Neighbouring windows with unlikely texts are decoded once more, as one longer window.

A short window does not hear what is said around it. Where the model knows the language badly, or the
recording is noisy, that costs many words (docs/retries.md). There texts are unlikely. Those of clear speech
in a language that the model knows are not, so that such recordings cost nothing more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.decoding import decode, one_by_one
from asr_batch.pipeline.guards import DecodeRequest, Outcome, hypothesis, letters
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.retry.doubtful import SPOILT
from asr_batch.pipeline.retry.hearing import Listener, as_one
from asr_batch.pipeline.retry.scheduler import DecodedTrack, samples_of
from asr_batch.pipeline.thresholds import AS_MUCH, AT_ONCE, UNLIKELY, UNLIKELY_BESIDE

Group = list[DecodedWindow]
Running = Generator[DecodeRequest, WindowResult, Outcome]


class Widening:
    """Decodes groups of windows of a track as windows of up to `longest` seconds; the more likely texts win.

    A group depends on the track's first texts alone, so results may come back in any order.
    """

    def __init__(self, track: DecodedTrack, listener: Listener, longest: float) -> None:
        self.finished = False
        self._track, self._listener = track, listener
        self._waiting = deque(groups(track.windows, longest))
        self._running: dict[int, tuple[Group, DecodedWindow, Running]] = {}
        self._wider: dict[int, tuple[Group, DecodedWindow]] = {}
        self._requests: list[tuple[int, DecodeRequest]] = []
        self._reader: Rereader | None = None
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
            group, wider = self._wider.get(window.index, ([window], window))
            gone.update(one.index for one in group[1:])
            if window.index not in gone:
                found.append(replace(wider, index=len(found)))
        return found

    def requests(self) -> list[tuple[int, DecodeRequest]]:
        """Decodings that can start now, each with the index of its first window; each is returned once."""
        requests, self._requests = self._requests, []
        return requests

    def give(self, index: int, result: WindowResult) -> None:
        """Pass a result to the group that requested it. Raises ItemError if the audio cannot be read."""
        self._send(index, result)
        self._go_on()

    def close(self) -> None:
        """Release the file."""
        for _, _, running in self._running.values():
            running.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _go_on(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(self._waiting.popleft())
        if not self._running and not self._waiting:
            self.finished = True
            self.close()

    def _start(self, group: Group) -> None:
        wider = together(group)
        if self._reader is None:
            self._reader = self._track.reader()
        samples = samples_of(wider, self._reader)
        language = _result(group[0]).language if self._listener.choice else None
        base = self._listener.base
        base = replace(base, language=language or base.language, cpu_encoder=True)  # an NPU takes one length
        running = one_by_one(decode(samples, base, self._listener.options, wider.heard_seconds, None))
        self._running[wider.index] = group, wider, running
        self._send(wider.index, None)

    def _send(self, index: int, result: WindowResult | None) -> None:
        group, wider, running = self._running[index]
        try:
            request = next(running) if result is None else running.send(result)
        except StopIteration as stop:
            del self._running[index]
            self._take(group, wider, stop.value)
            return
        self._requests.append((index, request))

    def _take(self, group: Group, wider: DecodedWindow, outcome: Outcome) -> None:
        """Keep the more likely texts; the others become hypotheses."""
        apart = as_one([_result(window) for window in group])
        if is_better(apart, outcome):
            others = (hypothesis("apart", apart), *outcome.others)
            wider.outcome = replace(outcome, flags=outcome.flags | {"recovered"}, others=others)
            self._wider[wider.index] = group, wider


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
