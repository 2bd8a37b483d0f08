"""Headers of MPEG audio frames: bytes per frame, and the length in a Xing header."""

from __future__ import annotations

_RATES = (44100, 48000, 32000)
_KILOBITS = {  # by (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_XING, _HAS_FRAMES = (b"Xing", b"Info"), 1


def frame_bytes(head: bytes) -> int:
    """Bytes of the frame that begins with these four; 0 if none does (or it does not say)."""
    found = _parsed(head)
    if found is None:
        return 0
    samples, rate, kilobits, layer, padding = found
    if layer == 1:
        return (12000 * kilobits // rate + padding) * 4
    return samples * kilobits * 125 // rate + padding


def promised_seconds(head: bytes) -> float:
    """Seconds by the Xing or VBRI header in the first frame of an MP3 file; 0.0 without one."""
    place = _first_frame(head)
    found = _parsed(head[place : place + 4])
    if found is None:
        return 0.0
    samples, rate, *_ = found
    frame = head[place : place + 200]
    xing = max(frame.find(name) for name in _XING)
    if xing > 0 and frame[xing + 7] & _HAS_FRAMES:
        return int.from_bytes(frame[xing + 8 : xing + 12], "big") * samples / rate
    vbri = frame.find(b"VBRI")
    return int.from_bytes(frame[vbri + 14 : vbri + 18], "big") * samples / rate if vbri > 0 else 0.0


def _first_frame(head: bytes) -> int:
    """Offset of the first frame: after an ID3v2 tag, whose size has seven bits per byte."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for part in head[6:10]:
        size = size << 7 | part & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def id3_bytes(head: bytes) -> int:
    """Bytes of the ID3v2 tag at the start of the file."""
    return _first_frame(head)


def _parsed(head: bytes) -> tuple[int, int, int, int, int] | None:
    """Samples, rate, kilobits per second, layer and padding of a frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, place = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bits == 15 or place == 3:
        return None
    first = version == 3
    rate = _RATES[place] >> (0 if first else 1 if version == 2 else 2)
    samples = 384 if layer == 1 else 1152 if first or layer == 2 else 576
    kilobits = _KILOBITS[first, layer if first else min(layer, 2)][bits]
    return samples, rate, kilobits, layer, head[2] >> 1 & 1
