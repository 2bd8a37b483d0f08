"""Finds what is said again and again by comparing the sound with itself, without knowing the words.

Two rounds of the same words have the same spectra in the same order, at a slightly different pace. Dynamic
time warping (Sakoe and Chiba 1978, "Dynamic programming algorithm optimization for spoken word recognition")
aligns a stretch with what follows it; the mean distance of the aligned frames, in units of the mean distance
of any two frames of the recording, is about 0.25 for the same words and 0.6 for others (`ALIKE_SOUND`).
Words are found by their sound alone as in Park and Glass 2008, "Unsupervised pattern discovery in speech".

Spectra are rounded to whole numbers, so that their products are exact: all processors find the same edges.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.features import log_mel
from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import Float32, Mask, smoothed
from asr_batch.pipeline.thresholds import ALIKE_SOUND, ALIKE_SOUND_LEFT

_HOP = 2  # frames of 10 ms in one of these
_BANDS, _LEVELS = 20, 16  # mel bands; steps per factor of ten in power
_DEEPEST, _VOICED = 4.0, 2.5  # log10 of the power below the loud frames that is kept, and that is voiced
_UNVOICED = 0.5  # weight of other frames
_SHORTEST = 15  # a round: 0.3 s
_SLACK, _MOST_SLACK = 0.2, 24  # share of a round, and frames, by which another one may be longer or shorter
_JITTER = 3  # frames by which a round may begin later or earlier
_STAY = 0.1  # cost of a frame that is skipped or said longer
_JUDGED, _HOPELESS = 30, 0.6  # frames after which a comparison with this distance ends
_BRIEF, _LONG = 0.5, 100  # share of the limit for a very short round; frames that make up as much
_SNAP = 8  # frames of 10 ms around the end of a round in which its quietest place is
_AS_BEFORE = 0.08  # by which a round more may differ, once there are two
_TRIES = 4  # places from which rounds are searched
_BLOCK = 64

Numbers = NDArray[np.float64]


def rounds(samples: Samples, level: Float32) -> list[int]:
    """Frames (10 ms) at which a stretch is divided into rounds; its edges alone if nothing is said twice.

    `level` in dBFS, per frame. What comes before, between and behind rounds is a part as well.
    """
    if len(level) < 3 * _SHORTEST * _HOP:
        return [0, len(level)]
    sound, quiet = _Sound(samples), smoothed(level, 7)
    dips = sorted({*(place // _HOP for place in _dips(quiet)), *range(0, len(sound.frames), _JITTER + 1)})
    edges, starts = [0], deque(sound.starts())
    while starts:
        start = starts.popleft()
        if start * _HOP < edges[-1] - _SNAP:
            continue
        found = _chain(sound, start, dips, quiet)
        edges += found
        if found:  # what follows may be too different from the first round
            starts.appendleft(found[-1] // _HOP)
    inner = {edge for edge in edges if _SNAP < edge < len(level) - _SNAP}
    return [0, *sorted(inner), len(level)]


def distances(samples: Samples, edges: Sequence[int], place: int) -> list[float]:
    """How far the sound of each part between these frames (10 ms) is from that of the part `place`.

    1: as any two parts; infinite where the stretch ends too soon.
    """
    sound = _Sound(samples)
    begins = np.array([edge // _HOP for edge in edges[:-1]], np.int64)
    end = min(edges[place + 1] // _HOP, len(sound.frames))
    lengths = np.full(len(begins), end - begins[place])
    found: list[float] = sound.again(int(begins[place]), lengths, begins)[0].tolist()
    return found


def _chain(sound: _Sound, start: int, dips: Sequence[int], quiet: Float32) -> list[int]:
    """The edges of all rounds from frame `start` on; none if what is said there is not said again."""
    last = start + round((len(sound.frames) - start) * (0.5 + _SLACK / 4))
    places = np.array([dip for dip in dips if start + _SHORTEST <= dip <= last], np.int64)
    if not len(places):
        return []
    costs, ends = sound.again(start, places - start, places)
    enough = ALIKE_SOUND * np.minimum(1.0, _BRIEF + (places - start) / _LONG)  # syllables are alike by chance
    if (costs >= enough).all():
        return []
    first = np.flatnonzero((costs < enough) & (costs <= costs.min() + ALIKE_SOUND_LEFT))[0]
    near = places - start <= (1 + _SLACK) * (places[first] - start)
    chosen = int(np.argmin(np.where(near, costs, np.inf)))
    length, end = int(places[chosen]) - start, int(ends[chosen])
    edges = [start * _HOP, _snapped(quiet, int(places[chosen]))]
    while True:
        edges.append(_snapped(quiet, end))
        begin = edges[-1] // _HOP
        if begin + round((1 - _SLACK) * length) > len(sound.frames):
            return edges
        cost, after = sound.again(start, np.array([length]), np.array([begin]))
        if cost[0] >= enough[chosen] + _AS_BEFORE:
            return edges
        end = int(after[0])


def _snapped(quiet: Float32, place: int) -> int:
    """The quietest frame (10 ms) near a place."""
    first = max(0, place * _HOP - _SNAP)
    return first + int(np.argmin(quiet[first : place * _HOP + _SNAP + 1]))


def _dips(quiet: Float32) -> Iterator[int]:
    """Frames between syllables: the quietest within 70 ms, 1 dB below what is loud on both sides."""
    for place in range(_SNAP, len(quiet) - _SNAP):
        around = quiet[place - 7 : place + 8]
        if quiet[place] > around.min() or quiet[place] == quiet[place - 1]:
            continue
        sides = quiet[max(0, place - 20) : place].max(), quiet[place : place + 20].max()
        if min(sides) - quiet[place] >= 1.0:
            yield place


class _Sound:
    """The spectra of a stretch, [frames, bands], and which frames are voiced."""

    def __init__(self, samples: Samples) -> None:
        power = 4.0 * log_mel(samples, _BANDS).T.astype(np.float64)
        count = len(power) // _HOP
        power = power[: count * _HOP].reshape(count, _HOP, _BANDS).mean(axis=1)
        loud = power.max(axis=1)
        usual = float(np.sort(loud)[int(0.95 * (count - 1))])
        self.voiced: Mask = loud > usual - _VOICED
        exact = np.rint(_LEVELS * np.maximum(power, usual - _DEEPEST))
        beside = np.pad(exact, ((1, 1), (0, 0)), mode="edge")  # rounds may begin between two frames
        self.frames: Numbers = beside[:-2] + 2 * exact + beside[2:]
        if self.voiced.any():
            self.frames -= np.rint(self.frames[self.voiced].mean(axis=0))
        self._squares = np.square(self.frames).sum(axis=1)
        self._usual = self._usual_distance()

    def _usual_distance(self) -> float:
        """The mean distance of any two voiced frames."""
        some = np.flatnonzero(self.voiced)
        some = some[:: max(1, len(some) // 200)]
        return float(self._distances(some)[:, some].mean()) if len(some) else 0.0

    def _distances(self, rows: NDArray[np.int64]) -> Numbers:
        """Distances [rows, frames] of these frames to all; exact products of whole numbers."""
        products = self.frames[rows] @ self.frames.T
        found: Numbers = np.sqrt(self._squares[rows, None] + self._squares[None] - 2 * products)
        return found

    def starts(self) -> list[int]:
        """Frames where speech begins, after pauses of 0.15 s: the first few."""
        found, last = [], -_SHORTEST
        for frame in np.flatnonzero(self.voiced).tolist() if self._usual else ():
            if frame - last > 7:
                found.append(max(0, frame - 2))
            last = frame
        return found[:_TRIES]

    def again(
        self, first: int, lengths: NDArray[np.int64], places: NDArray[np.int64]
    ) -> tuple[Numbers, NDArray[np.int64]]:
        """Align `lengths` frames from `first` on with what begins at each of `places` (all increasing).

        Returns the mean distances (1: as of any two frames) and the frames at which the aligned parts end.
        """
        slack = np.minimum(_MOST_SLACK, np.ceil(_SLACK * lengths).astype(np.int64) + 2)
        shifts = np.arange(-slack[-1], slack[-1] + 1)
        paths = np.full((len(places), len(shifts)), np.inf)
        paths[:, abs(shifts) <= _JITTER] = 0.0
        costs, ends = np.full(len(places), np.inf), places.copy()
        open_, voiced = np.arange(len(places)), 0.0
        for step in range(int(lengths[-1])):
            if step % _BLOCK == 0:
                rows = np.arange(first + step, min(first + step + _BLOCK, len(self.frames)))
                distances = self._distances(rows) / self._usual
            frames = places[open_, None] + step + shifts
            inside = (frames >= places[open_, None] - _JITTER) & (frames < len(self.frames))
            paths = _extended(paths)
            weight = 1.0 if self.voiced[first + step] else _UNVOICED
            voiced += weight
            paths += weight * distances[step % _BLOCK, np.clip(frames, 0, len(self.frames) - 1)]
            paths[~inside] = np.inf
            done = lengths[open_] == step + 1
            for row in np.flatnonzero(done):
                one = open_[row]
                best = np.where(abs(shifts) <= slack[one], paths[row], np.inf)
                costs[one] = best.min() / max(1, voiced)
                ends[one] = places[one] + step + 1 + shifts[int(np.argmin(best))]
            hopeless = voiced >= _JUDGED and paths.min(axis=1) > _HOPELESS * voiced
            left = ~(done | hopeless)
            if not left.any():
                break
            if not left.all():
                open_, paths = open_[left], paths[left]
        return costs, ends


def _extended(paths: Numbers) -> Numbers:
    """The cheapest way to each shift in the next step: unchanged, or one frame skipped or said longer."""
    out = paths.copy()
    np.minimum(out[:, :-1], paths[:, 1:] + _STAY, out=out[:, :-1])
    np.minimum(out[:, 1:], paths[:, :-1] + _STAY, out=out[:, 1:])
    return out
