"""Cuts a stream of measured samples into windows that tile it exactly.

There are two planners: `silence` cuts where nobody speaks and overlaps only if there is no such place;
`stride` steps by a fixed length with overlap throughout. Both depend only on the samples and the settings,
not on how the file was read. Frames are 10 ms (:mod:`asr_batch.pipeline.audio.frames`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from asr_batch.manifests.records import Cut
from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import (
    FRAME,
    FRAMES_PER_SECOND,
    Float32,
    Mask,
    Measured,
    percentile,
    smoothed,
)
from asr_batch.pipeline.windows.cuts import cut_places, first_cut
from asr_batch.pipeline.windows.silence import is_silence

OVERLAP = 150
"""Frames shared by two windows at a forced cut: 1.5 s."""

SPEECH = 0.5
"""Speech probability from which a frame counts as speech for cutting."""

AHEAD = 3
"""Window lengths in sight at a cut."""

_SHORTEST = 0.3  # of the longest window
_SURE_PAUSE = 25  # frames of non-speech that are a pause without further checks
_DEEPEST = 55.0  # dB below the loud parts from which a quieter pause is no better
_LEAD, _SHORT_REST, _LONG_REST = 5, 50, 300  # frames
_BEFORE, _AFTER = 12, 30  # frames of silence that a window keeps before and after its speech
_SLACK = 60  # frames by which the edges of an overlap may move
_QUIET_SHARE = 0.35  # fraction of the way from the window's floor to its loud parts
_MIN_RANGE = 12.0  # dB between floor and loud parts from which level is meaningful

PlannerName = Literal["silence", "stride", "plain"]


@dataclass(frozen=True, slots=True)
class Window:
    """A planned window. `start`, `end` are samples from the start of the span; `cut` is how it ends.

    `level` (dBFS) and `speech` (probability) are per frame of `samples`.
    """

    index: int
    start: int
    end: int
    cut: Cut
    samples: Samples
    level: Float32
    speech: Float32


@dataclass(frozen=True, slots=True)
class CutPlace:
    """Where a window ends and where the next one starts, in frames from the window's start."""

    end: int
    resume: int
    cut: Cut


def pauses(level: Float32, speech: Float32) -> Mask:
    """Frames of a window without speech: by Silero, and by the level where it is meaningful."""
    quiet = speech < SPEECH
    floor, loud = percentile(level, 10), percentile(level, 90)
    if loud - floor >= _MIN_RANGE:
        quiet &= smoothed(level, 3) < floor + _QUIET_SHARE * (loud - floor)
    return quiet


def runs(mask: Mask, join: int = 0) -> list[tuple[int, int]]:
    """[start, end) of each run of True; runs at most `join` frames apart count as one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    out: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if out and start - out[-1][1] <= join:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def longest_run(mask: Mask) -> tuple[int, int]:
    """[start, end) of the longest run of True, the earliest of several; (0, 0) if there is none."""
    return max(runs(mask), key=lambda run: run[1] - run[0], default=(0, 0))


def quietest(level: Float32, start: int, end: int) -> int:
    """The frame boundary in [start, end) with the least sound around it; of equals the most central one."""
    around = np.round(smoothed(level, 7)[start:end], 1)
    places = np.flatnonzero(around == around.min())
    middle = (end - start) / 2
    return start + int(places[np.argmin(np.abs(places - middle))])


def pause_score(level: Float32, speech: Float32) -> Float32:
    """How little a place resembles speech (lowest is best): dB below the loud parts, on two scales.

    The longer scale prefers the pause between sentences to the closure of a stop consonant; Silero breaks
    ties. Widths and weights were chosen for the most hits of true clip boundaries in recordings joined
    with pauses of 0 to 80 ms (see docs/windows.md).
    """
    under = np.maximum(level - percentile(level, 90), -_DEEPEST).astype(np.float32)
    score: Float32 = smoothed(under, 9) + 0.3 * smoothed(under, 41) + 5 * smoothed(speech, 5)
    return score


def rest_cut(level: Float32, speech: Float32) -> CutPlace | None:
    """A cut that keeps a long silence out of the surrounding windows, or None.

    A window that starts in silence ends shortly before the speech (and is then skipped); a window with
    speech ends early at three seconds of silence. Nothing is removed from the inside of a window.
    """
    quiet = pauses(level, speech)
    for start, end in runs(quiet):
        if start <= _LEAD and end - start >= _SHORT_REST:
            place = len(level) if end == len(level) else end - _BEFORE
            if is_silence(level[:place], speech[:place]):
                return CutPlace(place, place, "silence")
        elif end - start >= _LONG_REST and is_silence(
            level[start + _AFTER : end], speech[start + _AFTER : end]
        ):
            return CutPlace(start + _AFTER, start + _AFTER, "silence")
    return None


def choose_cut(level: Float32, speech: Float32, frames: int, shared: int = 0) -> CutPlace:
    """Choose the end of a window of at most `frames` frames, given everything in sight after its start.

    `shared`: frames at its start that also belong to the window before it.
    """
    rest = rest_cut(level[:frames], speech[:frames])
    if rest is not None and rest.end > shared:
        return rest
    level, speech = level[: AHEAD * frames], speech[: AHEAD * frames]
    places = cut_places(level, speech)
    shortest = max(round(_SHORTEST * frames), shared + 2 * _AFTER + 1)
    found = first_cut(places, shortest, frames - 1, len(level))
    level, speech = level[:frames], speech[:frames]
    if found is None:
        return _overlapped(pause_score(level, speech), frames)
    return CutPlace(*2 * (_late(level, speech, found),), "silence" if speech[found] < SPEECH else "valley")


def _late(level: Float32, speech: Float32, place: int) -> int:
    """A moment late in a long pause around `place`, or the place itself.

    Silence after speech is harmless; silence before speech may make a model repeat itself.
    """
    for start, end in runs(pauses(level, speech)):
        if start <= place < end and end - start >= _SURE_PAUSE:
            return quietest(level, max(start, end - 2 * _AFTER), end - _BEFORE)
    return place


def _overlapped(score: Float32, frames: int) -> CutPlace:
    """A forced cut: both windows share about a second and a half, with each edge at the best place nearby."""
    overlap = min(OVERLAP, frames // 3)
    slack = min(_SLACK, frames // 10)
    end = frames - slack + int(np.argmin(score[frames - slack :]))
    first = end - overlap - slack
    resume = first + int(np.argmin(score[first : end - overlap + slack]))
    return CutPlace(end, resume, "forced")


def _stride_cut(_level: Float32, _speech: Float32, frames: int, _shared: int = 0) -> CutPlace:
    return CutPlace(frames, frames - min(OVERLAP, frames // 3), "forced")


def _plain_cut(_level: Float32, _speech: Float32, frames: int, _shared: int = 0) -> CutPlace:
    return CutPlace(frames, frames, "end")


_CHOICES = {"silence": choose_cut, "stride": _stride_cut, "plain": _plain_cut}


def plan(stretches: Iterable[Measured], window: float, planner: PlannerName = "silence") -> Iterator[Window]:
    """Windows of at most `window` seconds that tile the measured stretches.

    A recording that fits into one window is one window; an empty one has none.
    """
    frames = round(window * FRAMES_PER_SECOND)
    choose = _CHOICES[planner]
    ahead = AHEAD * frames * FRAME if planner == "silence" else frames * FRAME
    held = _Held()
    index = 0
    for stretch in stretches:
        held.add(stretch)
        while held.count > ahead:
            place = choose(held.level, held.speech, frames, held.shared)
            yield held.window(index, place)
            held.drop(place)
            index += 1
    while held.count:
        yield held.window(index, place := _last_cuts(held, frames, index, planner))
        held.drop(place)
        index += 1


def _last_cuts(held: _Held, frames: int, index: int, planner: PlannerName) -> CutPlace:
    """The cuts once the whole rest of the recording is in sight."""
    if held.count > frames * FRAME:
        return _CHOICES[planner](held.level, held.speech, frames, held.shared)
    rest = rest_cut(held.level, held.speech) if index and planner == "silence" else None
    if rest is not None and rest.end > held.shared:
        return rest
    return CutPlace(len(held.level), len(held.level), "end")


class _Held:
    """Samples read but not yet returned, from sample `start` of the span on.

    `count`: their number; `shared`: frames of them that also belong to the window before.
    """

    def __init__(self) -> None:
        self.start = 0
        self.count = 0
        self.shared = 0
        self._parts: deque[Samples] = deque()  # concatenated only for a window: half a minute takes megabytes
        self.level: Float32 = np.zeros(0, np.float32)
        self.speech: Float32 = np.zeros(0, np.float32)

    def add(self, stretch: Measured) -> None:
        self._parts.append(stretch.samples)
        self.count += len(stretch.samples)
        self.level = np.concatenate((self.level, stretch.level))
        self.speech = np.concatenate((self.speech, stretch.speech))

    def window(self, index: int, place: CutPlace) -> Window:
        samples = self._first(place.end * FRAME)
        return Window(
            index,
            self.start,
            self.start + len(samples),
            place.cut,
            samples,
            self.level[: place.end],
            self.speech[: place.end],
        )

    def drop(self, place: CutPlace) -> None:
        frames, self.shared = place.resume, place.end - place.resume
        self.start += frames * FRAME
        self._forget(frames * FRAME)
        self.level = self.level[frames:]
        self.speech = self.speech[frames:]

    def _first(self, count: int) -> Samples:
        parts = []
        for part in self._parts:
            parts.append(part[:count])
            count -= len(part)
            if count <= 0:
                break
        return np.concatenate(parts)

    def _forget(self, count: int) -> None:
        self.count = max(0, self.count - count)
        while self._parts and count >= len(self._parts[0]):
            count -= len(self._parts.popleft())
        if self._parts:
            self._parts[0] = self._parts[0][count:]
