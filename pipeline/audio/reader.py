"""Sound files to float32 samples at 16 kHz, as a stream of blocks in constant memory.

libsndfile (soundfile) reads what it can, FFmpeg (PyAV) the rest; soxr resamples. The only home of the three.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asr_batch.manifests.errors import ItemError
from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from asr_batch.pipeline.audio.source import Source, open_source, shown

BLOCK_VALUES = 1 << 19
"""Most values (frames times channels) that are read at once."""

_STEP = 256
_ROUNDING = 0.05  # seconds by which lengths in headers may be off
_LOUDEST = 4.0  # full scale is 1; beyond this a float file holds no sound, and squares would overflow
_EXACT_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_EXACT_PLAIN = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"})
_EXACT_FORMATS = frozenset({"FLAC", "OGG"})
_UNKNOWN_LENGTH = 0x7FFF0000  # writers into pipes put such a size into the header


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a sound file is. `duration` in seconds, 0.0 when only decoding it tells.

    `codec` as the reader names it; `seekable`: any sample can be reached exactly without decoding what
    lies before it. `promised` is the duration by the header where the file is cut short, else `duration`.
    """

    duration: float
    sample_rate: int
    channels: int
    codec: str
    seekable: bool
    promised: float = 0.0


class _Decoder(Protocol):
    info: AudioInfo

    def read(self, frames: int) -> NDArray[np.float32]:
        """At most about `frames` frames [n, channels]; empty at the end of the audio."""

    def skip(self, frames: int) -> None:
        """Move forward by so many frames."""

    def close(self) -> None:
        """Release the file."""


class _Onward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is only read onward.

    The binding seeks to where it stands after each read. In an MP3 a seek drops the bits that the next
    frames borrow from those before: clicks at every block, and complaints of libmpg123 on stderr.
    """

    def seekable(self) -> bool:
        return False


class _SoundFile:
    """libsndfile."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        # A descriptor, not a name: names that are no UTF-8 and endings like .raw confuse it.
        named = not isinstance(stream, io.BytesIO)
        self._file: Any = _Onward(stream.fileno() if named else stream, closefd=False)
        found = self._file
        exact = found.format in _EXACT_FORMATS or (
            found.format in _EXACT_PLAIN and found.subtype.startswith(_EXACT_SUBTYPES)
        )
        duration = found.frames / found.samplerate
        self.info = AudioInfo(
            duration,
            int(found.samplerate),
            int(found.channels),
            f"{found.format}/{found.subtype}",
            exact,
            max(duration, self._promised()),
        )

    def _promised(self) -> float:
        """Seconds that the header of a WAV or AIFF file promises when its data end before that."""
        told = re.search(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", self._file.extra_info, re.M)
        if told is None or int(told[1]) >= _UNKNOWN_LENGTH or int(told[2]) == 0:
            return 0.0
        return float(self._file.frames / self._file.samplerate * int(told[1]) / int(told[2]))

    def read(self, frames: int) -> NDArray[np.float32]:
        place = self._file.tell()
        try:
            block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            return self._read_until_broken(place, frames)
        return block

    def _read_until_broken(self, place: int, frames: int) -> NDArray[np.float32]:
        """What can be read before a damage; libsndfile drops the whole request that meets one."""
        parts = [np.zeros((0, self.info.channels), np.float32)]
        with suppress(soundfile.SoundFileError):
            self._file.seek(place)
            for _ in range(0, frames if frames > _STEP else 0, _STEP):
                part = self._file.read(_STEP, dtype="float32", always_2d=True)
                if not len(part):
                    break
                parts.append(part)
        return np.concatenate(parts)

    def skip(self, frames: int) -> None:
        if self.info.seekable:
            self._file.seek(frames, soundfile.SEEK_CUR)
            return
        while frames > 0:
            got = len(self.read(min(frames, BLOCK_VALUES // self.info.channels)))
            if not got:
                return
            frames -= got

    def close(self) -> None:
        self._file.close()
        self._stream.close()


class _FFmpeg:
    """PyAV, for what libsndfile does not read (M4A, AAC, WMA, the sound of videos).

    Imported with the first such file: FFmpeg's libraries are 16 MB of memory that most workers never need.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        import av

        self._av = av
        self._stream = stream
        # A playlist must not make us open other files or addresses.
        self._container: Any = av.open(stream, options={"protocol_whitelist": "none"})
        if not self._container.streams.audio:
            raise ItemError("unreadable", "it holds no audio; expected a sound file")
        self._track = self._container.streams.audio[0]
        context = self._track.codec_context
        self.info = AudioInfo(
            self._duration(), int(context.sample_rate), int(context.channels), str(context.name), False
        )
        self._resampler = av.AudioResampler(format="fltp", layout=context.layout, rate=context.sample_rate)
        self._frames = self._decode()
        self._left = np.zeros((0, self.info.channels), np.float32)

    def _duration(self) -> float:
        track = self._track
        if track.duration and track.time_base:
            return float(track.duration * track.time_base)
        return float(self._container.duration or 0) / self._av.time_base

    def _decode(self) -> Iterator[NDArray[np.float32]]:
        with suppress(self._av.error.EOFError):
            for packet in self._container.demux(self._track):
                # One broken packet costs its own milliseconds, not the rest of the file.
                with suppress(self._av.error.InvalidDataError):
                    for frame in packet.decode():
                        for plain in self._resampler.resample(frame):
                            yield np.ascontiguousarray(plain.to_ndarray().T, dtype=np.float32)

    def read(self, frames: int) -> NDArray[np.float32]:
        parts, have = [self._left], len(self._left)
        while have < frames and (part := next(self._frames, None)) is not None:
            parts.append(part)
            have += len(part)
        block = np.concatenate(parts)
        self._left = block[frames:]
        return block[:frames]

    def skip(self, frames: int) -> None:
        while frames > 0:
            got = len(self.read(min(frames, BLOCK_VALUES // self.info.channels)))
            if not got:
                return
            frames -= got

    def close(self) -> None:
        self._container.close()
        self._stream.close()


def _open(source: Source) -> _Decoder:
    stream = open_source(source)
    try:
        return _SoundFile(stream)
    except soundfile.SoundFileError:
        stream.seek(0)
    import av

    try:
        return _FFmpeg(stream)
    except ItemError as error:
        stream.close()
        raise ItemError(error.code, f"{shown(source)}: {error.message}") from error
    except av.error.DecoderNotFoundError as error:
        stream.close()
        raise ItemError("unsupported_codec", f"{shown(source)}: no decoder for its codec") from error
    except (av.error.FFmpegError, ValueError, RuntimeError) as error:
        stream.close()
        raise ItemError("unreadable", f"{shown(source)} is not a sound file that can be read") from error


def probe(source: Source) -> AudioInfo:
    """What the file says about itself; decodes nothing.

    Raises ItemError (`not_found`, `unreadable`, `empty_file`, `unsupported_codec`).
    """
    decoder = _open(source)
    decoder.close()
    return decoder.info


class AudioStream:
    """A stretch of a file, mono at 16 kHz, as blocks of about a second.

    `channel` is `mix` (the mean of all) or a channel number as text. After the last block `end` is the
    second of the file where the audio really ended, `short` whether that is before the end that was asked
    for (or promised by the header), `replaced` the number of samples that were NaN or infinite and became
    0. Raises ItemError as `probe`, and `bad_channel`.
    """

    def __init__(
        self, source: Source, start: float = 0.0, end: float | None = None, channel: str = "mix"
    ) -> None:
        self._decoder = _open(source)
        self.info = self._decoder.info
        try:
            self._channel = _channel_index(channel, self.info.channels)
        except ItemError:
            self.close()
            raise
        rate = self.info.sample_rate
        self._first = round(start * rate)
        self._last = None if end is None else round(end * rate)
        self._asked = end
        self.start = start
        self.end = start
        self.replaced = 0
        self.short = False

    def blocks(self) -> Iterator[Samples]:
        """The samples as float32 blocks [n]; the same blocks for the same arguments, always."""
        decoder, rate = self._decoder, self.info.sample_rate
        size = max(1, min(rate, BLOCK_VALUES // self.info.channels))
        resampler = (
            None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
        )
        position = self._first
        if position:
            decoder.skip(position)
        while self._last is None or position < self._last:
            wanted = size if self._last is None else min(size, self._last - position)
            block = decoder.read(wanted)
            if not len(block):
                self.short = self._last is not None
                break
            position += len(block)
            mono = self._mono(block)
            yield mono if resampler is None else resampler.resample_chunk(mono)
        # The asked border itself, not its nearest sample: the next span of the row starts there.
        self.end = position / rate if self.short or self._asked is None else self._asked
        if self._last is None:
            self.short = self.end < self.info.promised - _ROUNDING
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mono(self, block: NDArray[np.float32]) -> Samples:
        mono = block[:, 0] if block.shape[1] == 1 else None
        if mono is None:
            index = self._channel
            mono = block[:, index] if index is not None else block.mean(axis=1, dtype=np.float32)
        finite = np.isfinite(mono)
        if not finite.all():
            self.replaced += int(len(mono) - np.count_nonzero(finite))
            mono = np.where(finite, mono, np.float32(0))
        return np.ascontiguousarray(np.clip(mono, -_LOUDEST, _LOUDEST), dtype=np.float32)

    def close(self) -> None:
        """Release the file."""
        self._decoder.close()


def read_samples(source: Source, start: float, end: float, channel: str = "mix") -> Samples:
    """The stretch [start, end) of a file in one array; for stretches of seconds, not for whole files.

    Raises ItemError as `AudioStream`.
    """
    stream = AudioStream(source, start, end, channel)
    try:
        blocks = list(stream.blocks())
    finally:
        stream.close()
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _channel_index(channel: str, count: int) -> int | None:
    if channel == "mix":
        return None
    if not channel.isdecimal() or int(channel) >= count:
        raise ItemError("bad_channel", f"channel {channel!r} is not in this file; it has 0 to {count - 1}")
    return int(channel)
