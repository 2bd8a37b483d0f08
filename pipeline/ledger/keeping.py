"""What a row keeps of its windows: where two overlap, each moment and each word belongs to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, TimedText
from asr_batch.pipeline.audio.frames import FRAME
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.text.stitching import Seam, find_seam, meet
from asr_batch.pipeline.text.words import words_of
from asr_batch.pipeline.windows.planning import quietest


@dataclass(frozen=True, slots=True)
class Kept:
    """What a row keeps of a window: its seconds [start, end) and its words [first, last)."""

    start: float
    end: float
    first: int
    last: int
    flags: frozenset[str] = frozenset()


def keep(windows: Sequence[DecodedWindow], start: float, end: float) -> list[Kept]:
    """Seconds and words kept of each of a track's windows; the track is from `start` to `end` in its file."""
    words = [words_of(window.outcome.result.text) if window.outcome else [] for window in windows]
    starts = [0.0] * len(windows)
    first, last = [0] * len(windows), [len(some) for some in words]
    flags: list[set[str]] = [set() for _ in windows]
    for index in range(1, len(windows)):
        left, right = windows[index - 1], windows[index]
        starts[index] = right.start / SAMPLE_RATE
        if right.start >= left.end:
            continue
        seam = _seam(left, right, words[index - 1], words[index], first[index - 1])
        starts[index] = _meeting(left, right, seam)
        last[index - 1] -= seam.drop_left
        first[index] = seam.drop_right
        if not seam.sure:
            flags[index].add("seam")
    borders = [start + second for second in starts] + [end]
    return [
        Kept(borders[i], borders[i + 1], first[i], max(first[i], last[i]), frozenset(flags[i]))
        for i in range(len(windows))
    ]


def _seam(
    left: DecodedWindow, right: DecodedWindow, one: Sequence[str], two: Sequence[str], gone: int
) -> Seam:
    """How the words of two windows meet; `gone`: words dropped from the start of the left one."""
    said = [_in_track(window) for window in (left, right)]
    if [[word.text for word in words] for words in said] != [list(one), list(two)] or not (
        one[gone:] and two
    ):
        return find_seam(one[gone:], two)
    return meet(said[0][gone:], said[1], (right.start / SAMPLE_RATE, left.end / SAMPLE_RATE))


def _in_track(window: DecodedWindow) -> list[TimedText]:
    """The words' positions, in seconds from the start of the track."""
    start = window.start / SAMPLE_RATE
    return [replace(word, start=start + word.start, end=start + word.end) for word in window.places]


def _meeting(left: DecodedWindow, right: DecodedWindow, seam: Seam) -> float:
    """Where the texts meet, or else the quietest moment of the overlap, in seconds from the track's start."""
    if seam.at is not None:
        return min(max(seam.at, right.start / SAMPLE_RATE), left.end / SAMPLE_RATE)
    first = (right.start - left.start) // FRAME
    place = quietest(left.level.astype(np.float32), first, len(left.level))
    return (left.start + place * FRAME) / SAMPLE_RATE
