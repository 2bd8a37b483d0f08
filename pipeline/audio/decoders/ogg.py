"""Pages of an Ogg file: where chained streams begin, and whether every page is complete.

A chain is several streams one after the other (RFC 3533, section 4); decoders stop at the second, or
mistake its times for those of the first. Pages are numbered and have a checksum, so damage is visible
without decoding.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from asr_batch.pipeline.audio.source import ReadsAt

_HEAD = struct.Struct("<4sBBqIIIB")
_STEP = 1 << 20
_BEGINS, _ENDS = 2, 4  # flags of a page
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, slots=True)
class OggPages:
    """`links`: first byte and end of each chained part. `whole`: no page is missing or damaged.

    `broken_off`: the file ends inside a page.
    """

    links: tuple[tuple[int, int], ...]
    whole: bool
    broken_off: bool


def is_ogg(head: bytes) -> bool:
    """Whether a file begins like an Ogg file."""
    return head[:5] == b"OggS\0"


def scan(reads: ReadsAt, end: int) -> OggPages:
    """Scan every page of an Ogg file of `end` bytes."""
    starts, whole, broken_off = [0], True, False
    numbers: dict[int, int] = {}
    place, heads = 0, True
    while place < end:
        page, wanted = _page(reads, place)
        if not wanted or len(page) < wanted or not _intact(page):
            after = not numbers  # nothing is missing after the last page of a stream
            place = _next_page(reads, place + 1, end)
            whole = whole and after
            broken_off = not after and place >= end
            continue
        _, _, flags, _, serial, number, _, _ = _HEAD.unpack_from(page)
        if flags & _BEGINS:
            if not heads:
                starts.append(place)
                numbers.clear()
            heads = True
        else:
            heads = False
            whole = whole and numbers.get(serial, number - 1) == number - 1
        numbers[serial] = number
        if flags & _ENDS:
            numbers.pop(serial, None)
        place += wanted
    links = tuple(zip(starts, [*starts[1:], end], strict=True))
    return OggPages(links, whole, broken_off)


def _page(reads: ReadsAt, place: int) -> tuple[bytes, int]:
    """The page at `place`, and its nominal size in bytes; 0 if there is no page."""
    head = reads(place, _HEAD.size + 255)
    if head[:4] != b"OggS":
        return b"", 0
    if len(head) <= _HEAD.size:
        return head, _HEAD.size + 1
    count = head[_HEAD.size - 1]
    size = _HEAD.size + count + sum(head[_HEAD.size : _HEAD.size + count])
    return head[:size] + reads(place + len(head), max(0, size - len(head))), size


def _next_page(reads: ReadsAt, place: int, end: int) -> int:
    while place < end:
        found = reads(place, _STEP + 3).find(b"OggS")
        if found >= 0:
            return place + found
        place += _STEP
    return end


def _intact(page: bytes) -> bool:
    """Whether the page matches its checksum: unreflected CRC-32, by zlib's on reversed bits."""
    body = page[:22] + b"\0\0\0\0" + page[26:]
    reflected = zlib.crc32(body.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    told: int = struct.unpack_from("<I", page, 22)[0]
    return int(f"{reflected:032b}"[::-1], 2) == told
