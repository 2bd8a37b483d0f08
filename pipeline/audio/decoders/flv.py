"""Tags of an FLV file: whether each is followed by another. FFmpeg looks for the next one without a word."""

from __future__ import annotations

from asr_batch.pipeline.audio.source import ReadsAt

_FILE_HEAD = 9
_TAG_HEAD, _BEHIND = 11, 4  # bytes before a tag's data, and of its size behind them
_KINDS = frozenset({8, 9, 18})  # sound, picture, script
_KIND = 0x1F
_STEP = 1 << 20


def is_whole(reads: ReadsAt, size: int) -> bool:
    """Whether every tag begins where the one before it ends; the last one may lack its end."""
    place = int.from_bytes(reads(5, 4), "big") or _FILE_HEAD
    place += _BEHIND
    begin, data = 0, b""
    while place + _TAG_HEAD <= size:
        if not begin <= place <= begin + len(data) - _TAG_HEAD:
            begin, data = place, reads(place, _STEP)
            if len(data) < _TAG_HEAD:
                break
        at = place - begin
        if data[at] & _KIND not in _KINDS:
            return False
        place += _TAG_HEAD + int.from_bytes(data[at + 1 : at + 4], "big") + _BEHIND
    return True
