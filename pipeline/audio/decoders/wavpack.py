"""Finds damaged blocks of a WavPack file, at which its decoder stops.

Header of a block (WavPack's format description): `wvpk`, bytes after these 8, version, number of samples
of the file, index of the block's first sample, number of its samples, flags, checksum.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from asr_batch.pipeline.audio.source import ReadsAt

_HEAD = struct.Struct("<4sIHxxIIIII")
_NAME = b"wvpk"
_LEAST, _MOST = 24, 1 << 20  # bytes after the first 8
_VERSIONS = range(0x402, 0x411)
_STEP = 1 << 20
_LATEST = 1 << 24  # samples by which a block may follow the previous one late


def is_wavpack(head: bytes) -> bool:
    """Whether a file begins like a WavPack file."""
    return head[:4] == _NAME


def whole_blocks(reads: ReadsAt, size: int) -> tuple[tuple[int, int], ...]:
    """Stretches [first, last) of bytes with consecutive whole blocks; one if no block is missing.

    A block truncated by the end of the file is left out.
    """
    stretches: list[tuple[int, int]] = []
    place = first = sample = 0
    while place < size:
        block = _block(reads, place, size, sample)
        if block is None or (sample and block.first > sample):
            if place > first:
                stretches.append((first, place))
            first = place
        if block is None:
            place = first = _next(reads, place + 1, size)
        else:
            place, sample = block.end, block.last
    if place > first:
        stretches.append((first, place))
    return tuple(stretches)


@dataclass(frozen=True, slots=True)
class _Block:
    """The byte after a block; its samples [first, last)."""

    end: int
    first: int
    last: int


def _block(reads: ReadsAt, place: int, size: int, sample: int) -> _Block | None:
    """The block at `place`; None if no block can follow."""
    head = reads(place, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    name, length, version, _, index, count, _, _ = _HEAD.unpack(head)
    end = place + 8 + length
    good = name == _NAME and _LEAST <= length <= _MOST and version in _VERSIONS and end <= size
    follows = sample == 0 or -count <= index - sample <= _LATEST  # those of more channels begin alike
    return _Block(end, index, index + count) if good and follows else None


def _next(reads: ReadsAt, place: int, size: int) -> int:
    while place < size:
        found = reads(place, _STEP + len(_NAME) - 1).find(_NAME)
        if found >= 0:
            return place + found
        place += _STEP
    return size
