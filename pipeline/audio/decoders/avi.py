"""The start of the sound in an AVI file, from the order of its chunks, which have no times.

Sound precedes its pictures by half a second, or is stored with them. If it first appears after more than a
second of pictures, it starts late. (The format has a field for this, `dwStart`, which writers leave at 0.)
"""

from __future__ import annotations

import struct

import numpy as np

from asr_batch.pipeline.audio.source import ReadsAt

_LATE = 1.0  # seconds
_MOST = 1 << 26  # bytes of an index
_ENTRY = np.dtype([("name", "S4"), ("flags", "<u4"), ("place", "<u4"), ("size", "<u4")])


def late_start(reads: ReadsAt, size: int, track: int, pictures: int, rate: float) -> float:
    """Seconds before the sound of stream `track`; stream `pictures` has `rate` frames per second."""
    names = _index(reads, size)
    sound = np.flatnonzero(names == b"%02dwb" % track)
    seen = np.flatnonzero((names == b"%02ddc" % pictures) | (names == b"%02ddb" % pictures))
    if not len(sound) or not len(seen) or not rate or seen[-1] < sound[0]:
        return 0.0  # if all pictures come first, the order says nothing
    late = float(np.searchsorted(seen, sound[0]) / rate)
    return late if late > _LATE else 0.0


def _index(reads: ReadsAt, size: int) -> np.ndarray:
    """Names of the chunks in the order of the file's index; empty without an index."""
    place = 12
    while place + 8 <= size:
        name, length = struct.unpack("<4sI", reads(place, 8))
        if name == b"idx1":
            data = reads(place + 8, min(length, _MOST))
            names: np.ndarray = np.frombuffer(data[: len(data) // 16 * 16], _ENTRY)["name"]
            return names
        place += 8 + length + length % 2
    return np.zeros(0, "S4")
