"""libsndfile: uncompressed files, FLAC and whole Ogg files, sample by sample and with exact seeking.

For formats that must be decoded to be measured (MP3, GSM, ADPCM) it trusts the header; FFmpeg reads those
to their end.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import soundfile

from asr_batch.pipeline.audio.decoders.decoder import AudioInfo, Block, Damage, frames_at_once, plausible
from asr_batch.pipeline.audio.source import ReadsAt, Stream

Trouble = (soundfile.SoundFileError, RuntimeError)
"""Exceptions of libsndfile for a file that it cannot read."""

_EXACT_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_EXACT_TAGS = (
    b"\x01\0",
    b"\x03\0",
    b"\x06\0",
    b"\x07\0",
    b"\xfe\xff",
)
_EXACT_HEADS = (b"fLaC", b"OggS", b"FORM", b"RIFX", b"riff", b".snd", b"dns.", b"caff")
_PLAIN = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"})
_INDEXED = frozenset({"FLAC", "OGG"})
_UNKNOWN_LENGTH = 0x7F000000  # writers to pipes put this size into the header
_UNKNOWN_LONG = 1 << 62
_USUAL = {6: "5.1", 8: "7.1"}  # FLAC, Ogg and WAV without a mask: the order of their specifications
_CHUNKS = frozenset(
    {b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"PEAK", b"smpl", b"iXML", b"afsp", b"JUNK"}
)
_CAF_CHUNK, _CAF_EDITS = 12, 4  # bytes of name and size; of the number before the samples
_VERIFIED_FROM = 600.0  # seconds from which the last sample is checked before a file counts as seekable


@dataclass(frozen=True, slots=True)
class Unclosed:
    """The bytes [first, last) of a file, with patches by offset."""

    first: int
    last: int
    patches: dict[int, bytes]


class SoundFile:
    """A file read by libsndfile; `whole` False: it ends before its header says.

    Raises soundfile.SoundFileError for an unreadable file.
    """

    def __init__(self, stream: Stream, reads: ReadsAt, size: int, whole: bool = True) -> None:
        self._stream = stream
        self.damage = Damage()
        self.notes: tuple[str, ...] = ()
        # A descriptor, not a name: names that are not UTF-8 and extensions like .raw confuse it.
        named = isinstance(stream, io.BufferedReader)
        self._file: Any = _Onward(stream.fileno() if named else stream, closefd=False)
        found = self._file
        self.exact = found.format in _INDEXED or (
            found.format in _PLAIN and found.subtype.startswith(_EXACT_SUBTYPES)
        )
        duration = plausible(found.frames / found.samplerate, size * (1 if found.format != "FLAC" else 8))
        codec = f"{found.format}/{found.subtype}"
        self.info = AudioInfo(
            duration if whole else 0.0,
            int(found.samplerate),
            int(found.channels),
            codec,
            self.exact and duration > 0 and whole,
            max(duration, self._promised(), _counted(reads, size) / found.samplerate) if self.exact else 0.0,
        )
        self._torn = found.format in _PLAIN and self.exact and _torn(reads, size)

    def reaches_end(self) -> bool:
        """Whether a long compressed file contains the last sample that its header names.

        If not, the file must be reopened: libFLAC reads nothing more.
        """
        found = self._file
        if found.format not in _INDEXED or self.info.duration < _VERIFIED_FROM:
            return True
        try:
            found.seek(found.frames - 1)
            whole = len(found.read(1, dtype="float32")) == 1
            found.seek(0)
        except Trouble:
            return False
        return whole

    def _promised(self) -> float:
        """Seconds in the header of a WAV or AIFF file whose data end before that."""
        told = re.search(
            r"^\s*(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", self._file.extra_info, re.M
        )
        if told is None or int(told[1]) >= _UNKNOWN_LENGTH or int(told[2]) == 0:
            return 0.0
        return float(self._file.frames / self._file.samplerate * int(told[1]) / int(told[2]))

    def blocks(self, start: float) -> Iterator[Block]:
        """Blocks from second `start` on. Raises Trouble if the file is damaged."""
        rate, channels = self.info.sample_rate, self.info.channels
        size = frames_at_once(rate, channels)
        place = round(start * rate) if self.info.seekable else 0
        if place:
            place = min(place, self._file.frames)
            self._file.seek(place)
        layout = _layout(channels)
        while True:
            wanted = min(size, rate - place % rate)
            samples = self._file.read(wanted, dtype="float32", always_2d=True)
            if not len(samples):
                break
            yield Block(place / rate, samples, rate, layout)
            place += len(samples)
        self.damage.broken_off = self._torn

    @property
    def empty(self) -> bool:
        """Whether its header declares it empty."""
        return bool(self._file.frames == 0)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        self._stream.close()


class _Onward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is only read forward.

    The binding seeks to its own position after each read, which fails in files without seeking.
    """

    def seekable(self) -> bool:
        return False


def _layout(channels: int) -> str:
    return _USUAL.get(channels, "")


def _torn(reads: ReadsAt, size: int) -> bool:
    """Whether the data of a WAV file extend to the end of the file and end inside a sample."""
    found = _riff_data(reads, size)
    if found is None:
        return False
    first, length, unit = found
    return (length == 0 or first + length > size) and unit > 0 and (size - first) % unit != 0


def exact_format(reads: ReadsAt, size: int) -> bool:
    """Whether the first bytes belong to a format that libsndfile reads sample by sample."""
    head = reads(0, 4)
    if head in (b"RIFF", b"RF64"):
        return reads(_tag(reads, size), 2) in _EXACT_TAGS
    return head in _EXACT_HEADS


def _tag(reads: ReadsAt, size: int) -> int:
    """Offset of a WAV file's format tag."""
    place = 12
    while place + 8 <= size:
        name, length = struct.unpack("<4sI", reads(place, 8))
        if name == b"fmt ":
            return place + 8
        place += 8 + length + length % 2
    return size


def unclosed(reads: ReadsAt, size: int) -> Unclosed | None:
    """The bytes to read of a file with an unfinished header, and patches for it.

    Applies to WAV and CAF files whose writer was killed or wrote to a pipe. None if the header has a
    length. With a data size of 0, libsndfile treats the file as empty.
    """
    head = reads(0, 4)
    if head == b"caff":
        return _unclosed_caf(reads, size)
    found = _riff_data(reads, size) if head in (b"RIFF", b"RF64") else None
    if found is None or found[1] not in (0, 0xFFFFFFFF) or size - found[0] < max(found[2], 8):
        return None
    name, length = struct.unpack("<4sI", reads(found[0], 8))
    if found[1] == 0 and name in _CHUNKS and found[0] + 8 + length <= size:
        return None  # a chunk follows: there really is no sound
    return Unclosed(0, size, {0: b"RIFF", found[0] - 4: b"\xff\xff\xff\xff"})


def _unclosed_caf(reads: ReadsAt, size: int) -> Unclosed | None:
    """See `unclosed`. In a pipe, SoX writes its header three times: twice before the samples, once after."""
    place = 8
    while place + _CAF_CHUNK <= size:
        name, length = struct.unpack(">4sQ", reads(place, _CAF_CHUNK))
        place += _CAF_CHUNK
        if name == b"data":
            break
        place += length
    else:
        return None
    header, first = place + _CAF_EDITS, 0
    while reads(first + header, 4) == b"caff":
        first += header
    last = size - header if reads(size - header, 4) == b"caff" else size
    if length > _CAF_EDITS or last - first - header < 8:
        return None
    return Unclosed(first, last, {place - 8: struct.pack(">Q", last - first - place)})


def _counted(reads: ReadsAt, size: int) -> float:
    """Frames by the header of a file with 64-bit sizes (RF64, W64); 0.0 for others or without a count."""
    head = reads(0, 4)
    if head == b"RF64" and reads(12, 4) == b"ds64":
        length = int.from_bytes(reads(28, 8), "little")
        unit = (_riff_data(reads, size) or (0, 0, 0))[2]
    elif head == b"riff":
        length, unit = _w64_data(reads, size)
    else:
        return 0.0
    return length / unit if unit and 0 < length < _UNKNOWN_LONG else 0.0


def _w64_data(reads: ReadsAt, size: int) -> tuple[int, int]:
    """Length of a W64 file's data, and bytes per frame; chunks have 16 bytes of name and 8 of size."""
    place, unit = 40, 0
    while place + 24 <= size:
        name, length = reads(place, 4), int.from_bytes(reads(place + 16, 8), "little")
        if name == b"data":
            return length - 24, unit
        if name == b"fmt ":
            unit = int.from_bytes(reads(place + 36, 2), "little")
        place += max(24, (length + 7) & ~7)
    return 0, unit


def _riff_data(reads: ReadsAt, size: int) -> tuple[int, int, int] | None:
    """First byte, length by the header and bytes per frame of a WAV file's data; None for other files."""
    place, unit = 12, 0
    riff = reads(0, 4) in (b"RIFF", b"RF64")
    while riff and place + 8 <= size:
        name, length = struct.unpack("<4sI", reads(place, 8))
        if name == b"data":
            return place + 8, length, unit
        if name == b"fmt " and place + 22 <= size:
            unit = struct.unpack("<12xH", reads(place + 8, 14))[0]
        place += 8 + length + length % 2
    return None
