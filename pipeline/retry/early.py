"""Asks early for what a retry is going to ask: windows with an unsure choice, while others are decoded.

Retries begin when all windows of a track are decoded, so the end of a job would wait for a whole window. The
text before a window is often known long before. What is asked early is what is asked later, and so is the
answer; a request that is not repeated was in vain.
"""

from __future__ import annotations

from dataclasses import replace

from asr_batch.models.recognizer import DecodeOptions, WindowResult
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.attempts import DecodedTrack
from asr_batch.pipeline.retry.context import Turns, has_unsure_choice
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.scheduler import doubtful, listener_for, samples_of
from asr_batch.pipeline.retry.strategies import STRATEGIES


class Early:
    """Requests of the strategy "after the text before" for a track whose windows are all planned."""

    def __init__(self, track: DecodedTrack, listener: Listener) -> None:
        self.track, self.listener, self._left = track, listener, track.budget
        self._turns = Turns(track.windows)
        self._next = 0
        self._asked: dict[int, DecodeOptions] = {}
        self._open: set[int] = set()
        self._found: dict[int, WindowResult] = {}
        self._expected: set[int] = set()

    @property
    def waits(self) -> bool:
        """Whether a request has no answer yet."""
        return bool(self._open)

    def requests(self) -> list[tuple[int, DecodeRequest]]:
        """Decodings that can start now, each with the index of its window; each is returned once. Raises
        ItemError if the audio cannot be read.
        """
        found = []
        for window in self.track.windows[self._next :]:
            if window.outcome is None and not window.skipped:
                break  # what follows begins after its text
            self._next += 1
            request = self._request(window)
            if request is not None:
                found.append((window.index, request))
        self._asked |= {index: request.options for index, request in found}
        self._open |= {index for index, _ in found}
        return found

    def _request(self, window: DecodedWindow) -> DecodeRequest | None:
        """What the first retry of a window will be, if it is of this strategy."""
        outcome = window.outcome
        if outcome is None or window.hopeless or not has_unsure_choice(outcome.result):
            return None
        one = doubtful(self.track, window.index)
        first = next((strategy for strategy in STRATEGIES if strategy.wanted(one, self.listener)), None)
        if first is None or not first.in_turn:
            return None
        one = replace(one, before=self._turns.text_before(one, {}))
        if not one.before or first.cost(one) > self._left:
            return None
        reader = self.track.reader()
        if not reader.seekable:
            return None
        self._left -= first.cost(one)
        attempt = first.attempt(one, samples_of(window, reader), listener_for(one, self.listener))
        return next(attempt)

    def forget(self) -> None:
        """Expect nothing any more: the windows have changed."""
        self._asked.clear()

    def give(self, index: int, result: WindowResult) -> None:
        """Pass a result to the window that requested it."""
        self._open.remove(index)
        self._found[index] = result

    def expects(self, index: int, request: DecodeRequest) -> bool:
        """Whether a retry's request has been made early: then `answers` has its result, now or later."""
        if self._asked.get(index) != request.options:
            return False
        del self._asked[index]
        self._expected.add(index)
        return True

    def answers(self) -> list[tuple[int, WindowResult]]:
        """The results that retries expect; each is returned once."""
        ready = sorted(self._expected & self._found.keys())
        self._expected -= set(ready)
        return [(index, self._found.pop(index)) for index in ready]
