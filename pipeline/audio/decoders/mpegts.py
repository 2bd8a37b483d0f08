"""MPEG transport streams (ISO/IEC 13818-1): whether all packets of a track exist, by their counters.

FFmpeg silently skips packets that have lost their sync byte, and its times then jump as they do where a
broadcast had no sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr_batch.pipeline.audio.source import ReadsAt

_SYNC = 0x47
_PACKET = 188  # bytes
_FLAVOURS = (188, 192, 204)  # bytes from one packet to the next
_CERTAIN = 4  # consecutive sync bytes that identify the flavour
_AT_ONCE = 1 << 14  # packets
_PES_HEAD = 6  # bytes before those that its length counts


@dataclass(slots=True)
class TsTrack:
    """`whole`: no packet is missing or damaged. `broken_off`: the last packet or its sound is incomplete."""

    whole: bool = True
    broken_off: bool = False


@dataclass(slots=True)
class _Unit:
    """The last unit (PES) of the track: bytes by its header (0: unknown), bytes received."""

    wanted: int = 0
    held: int = 0


def scan(reads: ReadsAt, size: int, pid: int) -> TsTrack:
    """Scan every packet of the track with this id."""
    found = TsTrack()
    flavour = _flavour(reads)
    if flavour is None:
        return found
    unit, before = _Unit(), -1
    begin, length = flavour
    count = (size - begin - _PACKET) // length + 1
    for first in range(0, count, _AT_ONCE):
        packets = _packets(reads, begin + first * length, min(_AT_ONCE, count - first), length)
        lost = packets[:, 0] != _SYNC
        found.whole = found.whole and not lost.any()
        found.broken_off = bool(len(lost) and lost[-1])
        own = packets[~lost & (_pids(packets) == pid)]
        before, ordered = _counted(own, before)
        found.whole = found.whole and ordered
        _follow(own, unit)
    torn = (size - begin) % length not in (0, _PACKET)
    found.broken_off = found.broken_off or torn or unit.held < unit.wanted
    return found


def _flavour(reads: ReadsAt) -> tuple[int, int] | None:
    """Offset of the first packet, and the distance to the next."""
    head = reads(0, _CERTAIN * max(_FLAVOURS))
    for length in _FLAVOURS:
        for begin in range(length):
            if set(head[begin : begin + length * _CERTAIN : length]) == {_SYNC}:
                return begin, length
    return None


def _packets(reads: ReadsAt, place: int, count: int, length: int) -> NDArray[np.uint8]:
    data = reads(place, count * length).ljust(count * length, b"\0")  # the last one ends with its 188 bytes
    return np.frombuffer(data, np.uint8).reshape(count, length)[:, :_PACKET]


def _pids(packets: NDArray[np.uint8]) -> NDArray[np.int32]:
    pids: NDArray[np.int32] = (packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2]
    return pids


def _counted(own: NDArray[np.uint8], before: int) -> tuple[int, bool]:
    """The last counter, and whether each is the previous one plus one (or the same: sent twice)."""
    own = own[own[:, 3] & 0x10 != 0]  # packets without payload do not count
    if not len(own):
        return before, True
    counters = own[:, 3].astype(np.int32) & 15
    steps = np.diff(counters, prepend=before if before >= 0 else counters[0]) & 15
    told = (own[:, 3] & 0x20 != 0) & (own[:, 4] > 0) & (own[:, 5] & 0x80 != 0)
    return int(counters[-1]), bool(((steps <= 1) | told).all())


def _follow(own: NDArray[np.uint8], unit: _Unit) -> None:
    """Bytes of the unit that begins last in these packets, or continues in them."""
    starts = np.flatnonzero(own[:, 1] & 0x40)
    if len(starts):
        own = own[starts[-1] :]
        payload = own[0, _begin(own)[0] :].tobytes()
        length = int.from_bytes(payload[4:_PES_HEAD], "big")
        unit.wanted, unit.held = (length + _PES_HEAD if length else 0), 0
    if len(own):
        unit.held += int((_PACKET - _begin(own))[own[:, 3] & 0x10 != 0].sum())


def _begin(own: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Start of each packet's payload, after the adaptation field."""
    field = np.where(own[:, 3] & 0x20 != 0, own[:, 4].astype(np.int32) + 1, 0)
    begin: NDArray[np.int32] = np.minimum(4 + field, _PACKET).astype(np.int32)
    return begin
