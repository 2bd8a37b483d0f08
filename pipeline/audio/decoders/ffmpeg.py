"""FFmpeg (PyAV): all containers and codecs that libsndfile does not read sample by sample.

A file is read once, from start to end. Frames are placed at the container's times; damage is counted and
leaves a hole of its own length.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from typing import Any

import av
import av.logging
import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.audio.decoders.avi import late_start
from asr_batch.pipeline.audio.decoders.clock import Clock
from asr_batch.pipeline.audio.decoders.decoder import (
    CUT_SECONDS,
    AudioInfo,
    Block,
    Damage,
    cut_short,
    frames_at_once,
    plausible,
)
from asr_batch.pipeline.audio.decoders.length import promised_length
from asr_batch.pipeline.audio.decoders.packets import Packets
from asr_batch.pipeline.audio.decoders.raw import RawFormat
from asr_batch.pipeline.audio.source import Stream, View, reads_at

_RATES = range(100, 6_144_001)
_ABSOLUTE = (
    "mov",
    "matroska",
    "flv",
    "avi",
    "asf",
)  # formats whose times count from the start of the recording
_PATIENCE = 120.0  # seconds
_LATEST = 600.0  # a later first packet comes from a clock that was already running
_KINDS = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_SCALES = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "s64": 9223372036854775808.0}

# Damage is reported nowhere else, and again by each reading of the same file.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


class FFmpeg:
    """A file read by FFmpeg. Raises ItemError, and av.error.FFmpegError for an unreadable file."""

    def __init__(
        self,
        stream: Stream,
        size: int,
        track: int | None = None,
        raw: RawFormat | None = None,
        damaged: bool = False,
    ) -> None:
        self._stream, self._size = stream, size
        self.damage = Damage()
        self.notes: tuple[str, ...] = ()
        self._container = _opened(stream, raw)
        streams = [found for found in self._container.streams.audio if found.codec_context is not None]
        if not streams:
            self._refuse("unsupported_codec" if self._container.streams.audio else "unreadable")
        self.default = default_track(streams)
        index = self.default if track is None else track
        if index >= len(streams):
            self._container.close()
            raise ItemError("bad_track", f"track {index} is not in this file; it has 0 to {len(streams) - 1}")
        self._track: Any = streams[index]
        self._name = str(self._container.format.name)
        self._damaged = damaged
        context = self._track.codec_context
        if context.sample_rate not in _RATES or not 0 < context.layout.nb_channels <= 1024:
            self._refuse("unreadable")
        context.options = {"err_detect": "crccheck"}
        promised = plausible(promised_length(self._container, self._track, stream, size), size)
        self.info = AudioInfo(
            self._duration(promised),
            int(context.sample_rate),
            int(context.layout.nb_channels),
            str(context.name),
            False,
            promised,
            "FFmpeg",
            len(streams),
        )

    def _refuse(self, code: Any) -> None:
        self._container.close()
        raise ItemError(
            code, {"unreadable": "it has no audio; expected a sound file"}.get(code, "no decoder")
        )

    def _duration(self, promised: float) -> float:
        """The length that the header guarantees, or a close estimate if the container has a better one."""
        told = plausible(self._told(), self._size)
        return told if not promised or abs(told - promised) < CUT_SECONDS else promised

    def _told(self) -> float:
        """Seconds according to the container, or estimated from the bit rate."""
        track = self._track
        if track.duration and track.time_base:
            return float(track.duration * track.time_base)
        return float(self._container.duration or 0) / av.time_base

    def _zero(self, first: float | None) -> float:
        """The container's time of second 0; `first` is the time of the first frame."""
        start = (self._container.start_time or 0) / av.time_base
        if self._damaged and self._name == "ogg" and 0.0 < (first or 0.0) <= _LATEST:
            return 0.0  # its first pages are missing
        if self._name == "avi":
            return -self._late()
        if self._name.startswith(_ABSOLUTE) and -1.0 < start <= _LATEST:
            return 0.0
        return start if len(self._container.streams) > 1 else first or 0.0

    def _late(self) -> float:
        """Seconds before the sound of an AVI file."""
        pictures = self._container.streams.video
        if not pictures or isinstance(self._stream, View):
            return 0.0
        reads, rate = reads_at(self._stream), float(pictures[0].average_rate or 0)
        return late_start(reads, self._size, self._track.index, pictures[0].index, rate)

    def blocks(self, start: float) -> Iterator[Block]:
        """Blocks from the first on; the file is not seeked in."""
        parts: list[NDArray[np.float32]] = []
        have, begin, form = 0, 0.0, (0, "", 0)
        for at, samples, kind in self._placed():
            if parts and (kind != form or abs(at - begin - have / form[0]) > 1e-4):
                yield Block(begin, np.concatenate(parts), form[0], form[1])
                parts, have = [], 0
            if not parts:
                begin, form = at, kind
            parts.append(samples)
            have += len(samples)
            if have >= frames_at_once(kind[0], kind[2]):
                yield Block(begin, np.concatenate(parts), form[0], form[1])
                parts, have = [], 0
        if parts:
            yield Block(begin, np.concatenate(parts), form[0], form[1])

    def _placed(self) -> Iterator[tuple[float, NDArray[np.float32], tuple[int, str, int]]]:
        """Frames [n, channels] with their second and their format: rate, layout, channels."""
        clock: Clock | None = None
        packets = Packets(self._container, self._track, self._stream, self._size)
        hurt = self._damaged or not packets.whole
        for packet in packets:
            hurt = hurt or packets.damaged or packet.complained
            if clock is not None and packet.before:
                clock.lose(packet.before)
            for frame in packet.frames:
                rate, time = frame.sample_rate, frame.time
                if not frame.samples or rate not in _RATES:
                    continue
                if clock is None:
                    clock = Clock(self._zero(time), self.info.promised, self.damage)
                samples = _floats(frame)
                at = clock.place(time, len(samples) / rate, packets.damaged)
                packets.damaged = False
                yield at, samples, (rate, frame.layout.name, samples.shape[1])
            packets.damaged = packets.damaged or packet.complained
            if clock is not None and packet.lost:
                begin = clock.second(packet.time)
                self.damage.add(begin, begin + packet.lost)
            if clock is not None and packet.behind:
                clock.lose(packet.behind)
        self.damage.broken_off = packets.broken_off
        if clock is not None:
            self._judge(clock, hurt, packets.lengthless)

    def _judge(self, clock: Clock, hurt: bool, lengthless: bool) -> None:
        """Evaluate the times once all of them are known."""
        # Packets of ASF have one size and follow each other without a gap.
        asf = self._name.startswith("asf") and len(self._container.streams) == 1
        if hurt or asf:
            clock.doubt_gaps(from_start=self._damaged)
        promised = self.info.promised
        if promised and not lengthless and promised - clock.position <= CUT_SECONDS:
            self.damage.broken_off = False  # less of its last frame is missing than counts
        self.damage.disordered = clock.undone > 0
        if self._name.startswith(_ABSOLUTE):
            too_long = promised > 0 and cut_short(promised, clock.position)
            self.damage.disordered = clock.restarts > 0 or too_long

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._stream.close()


def default_track(streams: list[Any]) -> int:
    """The track that a player uses: the first one marked as default, else the first."""
    marked = av.stream.Disposition.default
    return next((index for index, found in enumerate(streams) if found.disposition & marked), 0)


def _opened(stream: Stream, raw: RawFormat | None) -> Any:
    # A playlist must not open other files or addresses; tags may be in any encoding.
    options = {"protocol_whitelist": "none", **(raw.options if raw else {})}
    try:
        with av.logging.Capture(local=True):
            return av.open(
                stream,
                format=raw.name if raw else None,
                options=options,
                metadata_errors="ignore",
                timeout=(_PATIENCE, _PATIENCE),
            )
    except OSError as error:
        if error.errno == errno.EINVAL:  # seeked before the file's first byte
            raise ValueError(str(error)) from error
        raise


def _floats(frame: Any) -> NDArray[np.float32]:
    """The frame's samples [n, channels], full scale at 1.

    PyAV's `to_ndarray` is not used: with 8 channels or more it reads planes that do not exist.
    """
    name, channels = frame.format.name.rstrip("p"), frame.layout.nb_channels
    kind, planes = np.dtype(_KINDS[name]), frame.planes
    if frame.format.is_planar:
        values = np.empty((frame.samples, channels), kind)
        for index in range(channels):
            values[:, index] = np.frombuffer(planes[index], kind, frame.samples)
    else:
        values = np.frombuffer(planes[0], kind, frame.samples * channels).reshape(-1, channels).copy()
    if name == "flt":
        return values
    scaled: NDArray[Any] = values.astype(np.float64 if kind.itemsize > 2 else np.float32)
    if name in _SCALES:
        scaled = (scaled - (128 if name == "u8" else 0)) / _SCALES[name]
    return scaled.astype(np.float32, copy=False)
