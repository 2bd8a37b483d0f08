"""The length of a complete file, from the metadata of its container."""

from __future__ import annotations

import re
from typing import Any

from asr_batch.pipeline.audio.decoders import mpeg
from asr_batch.pipeline.audio.source import Stream

_COUNTED = ("mov", "wav", "flac", "tta", "wv", "ape", "caf", "aiff", "au", "w64", "mpc")
"""Containers that count the samples, or the bytes, of each track."""

_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_SEGMENT = b"\x18\x53\x80\x67"
_HEAD = 1 << 16


def promised_length(container: Any, track: Any, stream: Stream, size: int) -> float:
    """Seconds from the file's second 0 to the end of the track; 0.0 if nothing guarantees them."""
    name = container.format.name
    told = float(track.duration * track.time_base) if track.duration and track.time_base else 0.0
    if name in ("caf", "aiff") and track.frames:  # of ADPCM it counts packets
        return max(told, float(track.frames / track.codec_context.sample_rate))
    if name.startswith(_COUNTED):
        start = track.start_time if name.startswith("mov") and track.start_time else 0
        return told + max(0.0, float(start * track.time_base)) if told else 0.0
    if name == "mp3":
        return mpeg.promised_seconds(_head(stream, size))
    # a damaged FLV file may seem to have several audio tracks; it can have only one
    alone = not container.streams.video if name == "flv" else len(container.streams) == 1
    if name.startswith("asf") and alone:
        return _asf_seconds(_head(stream, size))
    if name == "flv":
        return float(container.duration or 0) / 1e6 if alone else 0.0
    if name.startswith("matroska"):
        tagged = _tagged(track.metadata.get("DURATION", ""))
        return tagged or (float(container.duration or 0) / 1e6 if alone else 0.0)
    return 0.0


def share_held(name: str, stream: Stream, size: int) -> float:
    """The share of the file that exists, by the size in its header; 1.0 without one."""
    head = _head(stream, size)
    told = 0
    if name.startswith("matroska"):
        told = _segment_end(head)
    elif name.startswith("asf") and (place := head.find(_ASF_FILE)) >= 0:
        told = int.from_bytes(head[place + 40 : place + 48], "little")
    elif name.startswith("avi") and head[:4] == b"RIFF":
        told = 8 + int.from_bytes(head[4:8], "little")
    return size / told if told > size else 1.0


def _asf_seconds(head: bytes) -> float:
    """Play time of an ASF file without its preroll, which counts in milliseconds."""
    place = head.find(_ASF_FILE)
    if place < 0 or len(head) < place + 88:
        return 0.0
    played, preroll = (int.from_bytes(head[place + at : place + at + 8], "little") for at in (64, 80))
    return max(0.0, played / 1e7 - preroll / 1e3)


def _head(stream: Stream, size: int) -> bytes:
    """The first bytes; for an MP3 file also those after its tag, which may contain a picture."""
    place = stream.tell()
    stream.seek(0)
    head = bytes(stream.read(_HEAD) or b"")
    skip = mpeg.id3_bytes(head[:10])
    if _HEAD // 2 < skip < size:
        stream.seek(skip)
        head = bytes(stream.read(_HEAD) or b"")
    stream.seek(place)
    return head


def _segment_end(head: bytes) -> int:
    """End of a Matroska file's segment; 0 if it was written to a pipe."""
    place = head.find(_SEGMENT) + len(_SEGMENT)
    if place < len(_SEGMENT) or place >= len(head) or not head[place]:
        return 0
    length = 9 - head[place].bit_length()
    raw = int.from_bytes(head[place : place + length], "big") & ((1 << 7 * length) - 1)
    return 0 if raw == (1 << 7 * length) - 1 else place + length + raw


def _tagged(text: str) -> float:
    """Seconds of a tag such as 00:01:02.500."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text.strip("\0 "))
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else 0.0
