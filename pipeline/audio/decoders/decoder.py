"""The decoder protocol: blocks of samples with their true time, read once from start to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK_VALUES = 1 << 19
"""Maximum values (frames times channels) of a block."""

CUT_SECONDS, CUT_SHARE = 1.0, 0.01
"""A file is truncated if both more seconds and a larger share than this are missing from its length."""

_TOUCHING = 0.05  # seconds between two holes that count as one
_SLOWEST = 5.0  # bytes per second: less than any codec writes for long
_LEEWAY = 3600.0  # seconds without packets that a header may claim in addition


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Metadata of a sound file.

    `duration` in seconds is a hint, 0.0 if only decoding tells. `codec` is named as by the decoder;
    `seekable`: any sample can be reached exactly without decoding what comes before it. `promised` is the
    length that the header guarantees, 0.0 if there is none to compare with. `tracks` is the number of
    audio tracks.
    """

    duration: float
    sample_rate: int
    channels: int
    codec: str
    seekable: bool
    promised: float = 0.0
    decoder: str = "libsndfile"
    tracks: int = 1


@dataclass(slots=True)
class Block:
    """Samples [n, channels] from second `start` of the file on; `layout` as named by FFmpeg, or empty."""

    start: float
    samples: NDArray[np.float32]
    rate: int
    layout: str = ""

    @property
    def end(self) -> float:
        """The second after its last sample."""
        return self.start + len(self.samples) / self.rate


@dataclass(slots=True)
class Damage:
    """What a decoder could not read: stretches [start, end) in seconds, and how the file ends.

    `broken_off`: the file ends inside a frame, page or sample. `disordered`: times go back although the
    container has them in order.
    """

    holes: list[tuple[float, float]] = field(default_factory=list)
    broken_off: bool = False
    disordered: bool = False

    @property
    def seconds(self) -> float:
        """Sum of the holes."""
        return sum(end - start for start, end in self.holes)

    def add(self, start: float, end: float) -> None:
        """Add a hole; merged with those that it touches."""
        if end <= start:
            return
        later = []
        while self.holes and self.holes[-1][0] > end + _TOUCHING:
            later.append(self.holes.pop())
        while self.holes and start <= self.holes[-1][1] + _TOUCHING:
            before = self.holes.pop()
            start, end = min(start, before[0]), max(end, before[1])
        self.holes += [(start, end), *reversed(later)]


class Decoder(Protocol):
    """An open file. `blocks` may be called once; `notes` explain the choice of the track."""

    info: AudioInfo
    damage: Damage
    notes: tuple[str, ...]

    def blocks(self, start: float) -> Iterator[Block]:
        """Blocks in order of time, from the one with second `start` on (or from the first)."""

    def close(self) -> None:
        """Release the file."""


def plausible(seconds: float, size: int) -> float:
    """A header's length as a hint: 0.0 (unknown) if a file of `size` bytes is too small for it."""
    return seconds if 0 < seconds <= _LEEWAY + size / _SLOWEST else 0.0


def cut_short(end: float, promised: float) -> bool:
    """Whether a file that ends at `end` is truncated, by the length in its header."""
    return promised - end > max(CUT_SECONDS, CUT_SHARE * promised)


def frames_at_once(rate: int, channels: int) -> int:
    """Frames of a block: a second or less; blocks that start with a second also end with one."""
    parts = -(-rate * channels // BLOCK_VALUES)
    return max(1, -(-rate // parts))
