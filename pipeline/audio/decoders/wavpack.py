"""Finds damaged blocks of a WavPack file, at which its decoder stops.

Header of a block (WavPack's format description): `wvpk`, bytes after these 8, version, number of samples
of the file, index of the block's first sample, number of its samples, flags, checksum.
"""

from __future__ import annotations

import struct

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
    """Stretches [first, last) of bytes with consecutive whole blocks; one if the file is undamaged.

    Tags after the last block are kept; a block truncated by the end of the file is left out.
    """
    stretches: list[tuple[int, int]] = []
    place = first = 0
    sample = 0
    while place < size:
        last, sample_after = _block(reads, place, size, sample)
        if last:
            place, sample = last, sample_after
            continue
        if place > first:
            stretches.append((first, place))
        place = first = _next(reads, place + 1, size)
    if place > first:
        stretches.append((first, place))
    return tuple(stretches)


def _block(reads: ReadsAt, place: int, size: int, sample: int) -> tuple[int, int]:
    """The offset and sample index after the block at `place`; zeros if no block can follow."""
    head = reads(place, _HEAD.size)
    if len(head) < _HEAD.size:
        return 0, 0
    name, length, version, _, index, count, _, _ = _HEAD.unpack(head)
    last = place + 8 + length
    good = name == _NAME and _LEAST <= length <= _MOST and version in _VERSIONS and last <= size
    follows = (
        sample == 0 or -count <= index - sample <= _LATEST
    )  # blocks of further channels begin in the same way
    return (last, index + count) if good and follows else (0, 0)


def _next(reads: ReadsAt, place: int, size: int) -> int:
    while place < size:
        found = reads(place, _STEP + len(_NAME) - 1).find(_NAME)
        if found >= 0:
            return place + found
        place += _STEP
    return size
