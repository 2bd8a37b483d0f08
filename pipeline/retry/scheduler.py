"""After the last window of a track: which windows are tried again, in what order, for how much."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Mask
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.audit import audible_speech
from asr_batch.pipeline.guards import Ask, letters, prepared
from asr_batch.pipeline.records import Place, Take
from asr_batch.pipeline.retry.gaps import missing
from asr_batch.pipeline.retry.repair import (
    LOOKED_INTO,
    LOST,
    UNHEARD,
    Suspect,
    Workshop,
    chosen,
    doubts,
    fill_holes,
    needs_all,
    repair,
    severity,
    usual_rate,
)
from asr_batch.pipeline.retry.resegment import Pair, halve, recut

_ENOUGH, _TELLING = 3.0, 8  # seconds of speech, windows: from here a rate tells something
_SPARSE = 0.65  # of the recording's usual letters a second: less is no transcript
_AT_ONCE = 8  # windows tried again at once
_DOUBT, _MOST_DOUBT = 1.5, 0.5  # share of a window that counts as missing by unit of log-probability, at most


@dataclass(frozen=True, slots=True)
class Remains:
    """A track whose windows are all decoded once. `end`: second of the file where it ended; `threshold`:
    the audit's; `budget`: seconds of audio that may be decoded again.
    """

    place: Place
    end: float
    takes: list[Take]
    threshold: float
    budget: float


@dataclass(slots=True)
class _Running:
    """A suspect being tried again: seconds set aside for it and, once it has ended, those decoded."""

    suspect: Suspect
    way: Generator[Ask, WindowResult, float]
    reserved: float
    spent: float | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """A suspect with its window, the one before it if both may be cut anew, and the samples of both, in which
    its own begin at `offset`, and 0.2 s more.
    """

    suspect: Suspect
    take: Take
    left: Take | None
    whole: Samples
    offset: int

    @property
    def samples(self) -> Samples:
        """The window's own."""
        return self.whole[self.offset : self.offset + self.take.end - self.take.start]

    @property
    def more(self) -> Samples:
        """Those right behind it."""
        return self.whole[self.offset + self.take.end - self.take.start :]

    @property
    def now(self) -> Suspect:
        """The suspect with what its window has become."""
        return replace(self.suspect, outcome=self.take.outcome or self.suspect.outcome)

    @property
    def mended(self) -> bool:
        """Whether its window has another text than at first."""
        return self.now.outcome.result is not self.suspect.outcome.result


class Repairs:
    """Tries the track's bare and doubtful windows again, several at once, as far as the budget goes.

    A suspect starts when enough of the budget is free. What is free is told without a clock: seconds are
    set aside when a suspect starts, and what it leaves comes back only when all suspects before it in time
    have ended too. So who starts with how much does not depend on the order in which results come back.
    """

    def __init__(self, track: Remains, shop: Workshop) -> None:
        self.finished = False
        self._track = track
        self._shop = shop
        found, self._rate = _suspects(track, shop)
        self._waiting = deque(chosen(found, track.budget))
        self._running: deque[_Running] = deque()  # in order of time
        self._free = track.budget
        self._heard: dict[int, list[Take]] = {}
        self._asks: list[tuple[int, Ask]] = []
        self._reader = _reader(track) if self._waiting else None
        self._go_on()

    def asks(self) -> list[tuple[int, Ask]]:
        """Decodings that can start now, each with the place of its window; every one is told once."""
        asks, self._asks = self._asks, []
        return asks

    def give(self, index: int, result: WindowResult) -> None:
        """Hand a result to the window that asked. Raises ItemError when the audio cannot be read."""
        self._send(next(one for one in self._running if one.suspect.index == index), result)
        self._go_on()

    def close(self) -> None:
        """Release the file."""
        for one in self._running:
            one.way.close()
        if self._reader is not None:
            self._reader.close()

    def _go_on(self) -> None:
        """Start all that can, let the first go if it has ended, and again."""
        while self._waiting or self._running:
            if self._waiting and self._can_start(self._waiting[0]):
                self._start(self._waiting.popleft())
            elif self._running[0].spent is not None:
                ended = self._running.popleft()
                self._free += ended.reserved - (ended.spent or 0.0)
            else:
                return
        self._finish()

    def _can_start(self, suspect: Suspect) -> bool:
        if not self._running:
            return True
        # A window is cut anew together with what the one before it has become.
        waits = self._running[-1].suspect.index == suspect.index - 1 and not needs_all(suspect)
        return not waits and len(self._running) < _AT_ONCE and self._free >= suspect.wanted

    def _start(self, suspect: Suspect) -> None:
        """Set aside what it needs, or its equal share of what is free if that is more."""
        share = self._free / (len(self._waiting) + 1)
        reserved = min(max(share, suspect.wanted), self._free)
        self._free -= reserved
        one = _Running(suspect, self._try_again(suspect, reserved), reserved)
        self._running.append(one)
        self._send(one, None)

    def _send(self, one: _Running, result: WindowResult | None) -> None:
        try:
            ask = next(one.way) if result is None else one.way.send(result)
            self._asks.append((one.suspect.index, ask))
        except StopIteration as stop:
            one.spent = stop.value

    def _try_again(self, suspect: Suspect, allowed: float) -> Generator[Ask, WindowResult, float]:
        """Decode one window in other ways, for at most `allowed` seconds of audio; returns those decoded."""
        track = self._track
        assert self._reader is not None
        take = track.takes[suspect.index]
        left = None if needs_all(suspect) else _left(track.takes, self._heard, suspect.index)
        start = left.start if left is not None else take.start
        whole = self._reader.read(start, take.end + SAMPLE_RATE // 5)
        whole = prepared(whole, take.level.astype(np.float32), take.heard)
        case = _Case(suspect, take, left, whole, take.start - start)
        if needs_all(suspect):
            return (yield from self._repair(case, allowed))
        return (yield from self._mend(case, allowed))

    def _mend(self, case: _Case, allowed: float) -> Generator[Ask, WindowResult, float]:
        """A window of which a part is missing, or that begins at the wrong place: the likelier first."""
        unsure, spent = case.suspect.unsure, 0.0
        if not unsure:
            spent = yield from self._fill(case, allowed)
        cut_anew = 0.0
        if case.left is not None and not case.mended:
            cut_anew = yield from self._cut_anew(case, case.left, allowed - spent)
        done = case.mended or bool(self._heard.get(case.suspect.index))
        if unsure and not done:
            spent += yield from self._fill(case, allowed - spent - cut_anew)
        elif not (done or cut_anew):
            spent += yield from self._repair(case, allowed - spent)
        return spent + cut_anew

    def _fill(self, case: _Case, allowed: float) -> Generator[Ask, WindowResult, float]:
        """Decode what the decoder did not listen to."""
        if not case.suspect.unheard:
            return 0.0
        case.take.outcome, spent = yield from fill_holes(case.now, case.samples, self._shop, allowed)
        return spent

    def _cut_anew(self, case: _Case, left: Take, allowed: float) -> Generator[Ask, WindowResult, float]:
        """Decode it from another place, or in two parts."""
        upto = case.offset + case.take.end - case.take.start
        pair = _pair(self._track, left, case.take, case.whole[:upto], self._rate)
        way = recut if case.suspect.unsure else halve
        self._heard[case.suspect.index], spent = yield from way(pair, self._shop, allowed)
        return spent

    def _repair(self, case: _Case, allowed: float) -> Generator[Ask, WindowResult, float]:
        """All other ways, one after the other."""
        case.take.outcome, spent = yield from repair(case.now, case.samples, case.more, self._shop, allowed)
        return spent

    def _finish(self) -> None:
        """All suspects have ended: the windows as they are now."""
        self.close()
        takes = self._track.takes
        takes[:] = [new for take in takes for new in self._heard.get(take.index) or [take]]
        for index, take in enumerate(takes):
            take.index = index
        _mark_sparse(self._track)
        self.finished = True


def _reader(track: Remains) -> Rereader:
    return Rereader(track.place.source, track.place.start, track.end, track.place.channel)


def _mark_sparse(track: Remains) -> None:
    """Mark windows whose text is far too short for their speech, by what is usual in this recording."""
    spoken = [
        float(np.count_nonzero(take.audible(track.threshold))) / FRAMES_PER_SECOND for take in track.takes
    ]
    rates = [
        letters(take.outcome.result.text) / seconds if take.outcome and seconds >= _ENOUGH else math.nan
        for take, seconds in zip(track.takes, spoken, strict=True)
    ]
    known = np.array([rate for rate in rates if rate > 0])
    if len(known) < _TELLING:
        return
    usual = float(np.median(known))
    spread = 1.5 * float(np.median(np.abs(known - usual)))
    least = min(_SPARSE * usual, usual - 3 * spread)
    for take, rate in zip(track.takes, rates, strict=True):
        take.sparse = rate < least and not _heard_all(take, track.threshold)


def _left(takes: Sequence[Take], heard: Mapping[int, Sequence[Take]], index: int) -> Take | None:
    """The window before this one, if both have a text and meet at a cut without overlap."""
    if index == 0:
        return None
    left = (heard.get(index - 1) or [takes[index - 1]])[-1]
    if left.end != takes[index].start or left.outcome is None or left.outcome.result.error is not None:
        return None
    return left if left.outcome.result.text.strip() else None


def _pair(track: Remains, left: Take, right: Take, samples: Samples, rate: float) -> Pair:
    level = np.concatenate((left.level, right.level)).astype(np.float32)
    heard, hinted = (
        np.concatenate(pair) for pair in ((left.heard, right.heard), (left.hinted, right.hinted))
    )
    return Pair(left, right, samples, audible_speech(level, heard, hinted, track.threshold), rate)


def _suspects(track: Remains, shop: Workshop) -> tuple[list[Suspect], float]:
    """Windows to try again, and how many letters a second this recording has."""
    masks = [take.audible(track.threshold) for take in track.takes]
    speech = [float(np.count_nonzero(mask)) / FRAMES_PER_SECOND for mask in masks]
    usual = usual_rate(
        [(take.outcome, s) for take, s in zip(track.takes, speech, strict=True) if take.outcome]
    )
    tolerated = (LOOKED_INTO,) if shop.words else ()
    unsure = doubts([_logprob(take) for take in track.takes])
    found = []
    for take, mask, seconds, doubt in zip(track.takes, masks, speech, unsure, strict=True):
        outcome = take.outcome
        if outcome is None:
            continue
        unheard = _unheard(take, mask)
        grade = max(
            severity(outcome, seconds, usual, *tolerated), seconds * min(_MOST_DOUBT, _DOUBT * doubt), unheard
        )
        if grade > 0:
            level = take.level.astype(np.float32)
            found.append(Suspect(take.index, outcome, level, mask, grade, doubt > 0, unheard))
    return found, usual


def _unheard(take: Take, speech: Mask) -> float:
    """Seconds of speech that the decoder did not listen to; 0 where they are too few, or it does not tell."""
    found = missing(take.places, speech)
    return found if found >= UNHEARD else 0.0


def _heard_all(take: Take, threshold: float) -> bool:
    """Whether the decoder tells that it listened to all speech: then somebody speaks slowly."""
    return bool(take.places) and missing(take.places, take.audible(threshold)) < LOST


def _logprob(take: Take) -> float:
    return take.outcome.result.avg_logprob if take.outcome else math.nan
