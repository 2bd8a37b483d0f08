"""Decodes the packets of one track, and accounts for damage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.logging

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.audio.decoders import mpeg, mpegts
from asr_batch.pipeline.audio.decoders.decoder import CUT_SECONDS, cut_short
from asr_batch.pipeline.audio.decoders.flv import is_whole as flv_is_whole
from asr_batch.pipeline.audio.decoders.length import share_held
from asr_batch.pipeline.audio.source import ReadsAt, Stream, View, reads_at

PATIENCE = 60.0
"""Seconds of processor time that a decoder may spend without a packet or a frame."""

_FRAMED = frozenset({"mp3", "aac", "ac3", "eac3", "dts", "mlp", "sbc"})
"""Formats of bare frames: their times count what was read, so lost time is computed from bytes."""

_COUNTED = ("mov", "avi", "wav", "flac", "tta", "wv", "ape", "caf", "aiff", "au", "w64", "ogg", "mp3")
_ZEROS_ARE_SOUND = ("pcm_", "adpcm_", "g722", "g726", "dsd")
_MOST_FAILURES = 64
_LEAST_HUGE = 4096
_CHUNK_HEAD = 8
_TAGS = (b"ID3", b"TAG", b"APE", b"LYR")
_TELLING = 64  # bytes by which a packet is located in its file
_STEP, _FARTHEST = 1 << 20, 1 << 26
_MANY = 4  # times the usual size: the packet contains what lies between two frames


@dataclass(slots=True)
class Packet:
    """Frames of a packet. `time` of the container; seconds `lost` in it, skipped `before` and `behind` it.

    `complained`: the decoder reported an error while it made the frames.
    """

    frames: list[Any]
    time: float | None = None
    lost: float = 0.0
    before: float = 0.0
    behind: float = 0.0
    complained: bool = False


class _Watch:
    """Raises ItemError (`timeout`) if a packet took more than `PATIENCE` of processor time.

    Its clock is a system call, so it is read once a second; the other clock costs nothing.
    """

    def __init__(self) -> None:
        self._asked = self._began = time.monotonic()
        self._used = time.thread_time()

    def check(self) -> None:
        """Check after a packet."""
        waited = time.monotonic() - self._began > PATIENCE  # perhaps waiting for a slow disk
        if waited and time.thread_time() - self._used > PATIENCE:
            raise ItemError("timeout", f"its decoder makes no progress for {PATIENCE:g} s")

    def restart(self) -> None:
        """Restart before the next packet."""
        self._began = time.monotonic()
        if self._began - self._asked > 1.0:
            self._asked, self._used = self._began, time.thread_time()


class Packets:
    """Reads and decodes packet by packet.

    `damaged` is set when something was lost, and reset by the caller; `whole` is False if bytes are known to
    be missing; `lengthless` tells that the container does not count what it holds; at the end, `broken_off`
    tells whether the file ends inside a packet. Raises ItemError (`timeout`) if the decoder makes no
    progress.
    """

    def __init__(self, container: Any, track: Any, stream: Stream, size: int) -> None:
        self._container, self._track, self._stream, self._size = container, track, stream, size
        self._format = container.format.name
        name = str(track.codec_context.name)
        self._base = float(track.time_base or 0)  # seconds per tick; a new fraction for each packet is slow
        self._zeros_count = not name.startswith(_ZEROS_ARE_SOUND)
        self.damaged = False
        self.broken_off = False
        self._bytes = self._count = 0
        self._seconds = 0.0
        self._complained = False
        self._last = b""
        self._end: int | None = None
        self._last_size = self._place = self._even = 0
        seen = self._format == "aac" and not isinstance(stream, View)
        self._reads = reads_at(stream) if seen else None
        self._alone = self._format == "avi" and len(container.streams) == 1
        ts = self._format == "mpegts" and not isinstance(stream, View)
        self._ts = mpegts.scan(reads_at(stream), size, track.id) if ts else mpegts.TsTrack()
        flv = self._format == "flv" and not isinstance(stream, View)
        self.whole = self._ts.whole and (not flv or flv_is_whole(reads_at(stream), size))
        self.lengthless = not self._format.startswith(_COUNTED) or (
            self._format.startswith("mov") and not track.frames  # fragments, written one by one
        )

    def __iter__(self) -> Iterator[Packet]:
        watch = _Watch()
        for packet in self._demuxed():
            made = self._decoded(packet)
            watch.check()
            yield made
            watch.restart()
        self.broken_off = self._breaks_off()

    def _demuxed(self) -> Iterator[Any]:
        failures, packets = 0, self._container.demux(self._track)
        while failures < _MOST_FAILURES:
            try:
                with av.logging.Capture(local=True) as said:
                    packet = next(packets, None)
            except av.error.EOFError:
                return
            except (
                av.error.FFmpegError,
                IndexError,
            ):  # the latter for a stream without an entry in the header
                failures, self.damaged = failures + 1, True
                packets = self._container.demux(self._track)
                continue
            self.damaged = self.damaged or bool(said)
            if packet is None:
                return
            if packet.size:
                failures = 0
            yield packet

    def _decoded(self, packet: Any) -> Packet:
        base = self._base
        made = Packet([], None if packet.pts is None or not base else packet.pts * base)
        seconds = (packet.duration or 0) * base
        self.damaged = self.damaged or bool(packet.is_corrupt and self._zeros_count)
        failed = bool(packet.size) and self._zeros_count and _all_zero(packet)
        if not failed:
            failed = self._decode(packet, made) and bool(packet.size)
        if made.frames:
            seconds = seconds or made.frames[0].samples / made.frames[0].sample_rate
        if failed or made.complained:
            made.lost = seconds
            self.damaged = self.damaged or failed
        if packet.size:
            made.before, made.behind = self._skipped(packet), self._swallowed(packet)
            self._note(packet, seconds)
        return made

    def _decode(self, packet: Any, made: Packet) -> bool:
        """Decode into `made.frames`; whether the decoder reports an error."""
        try:
            with av.logging.Capture(local=True) as said:
                made.frames = packet.decode()
        except av.error.EOFError:
            return False
        except av.error.FFmpegError:
            return True
        made.complained = bool(said)
        if packet.size:
            self._complained = bool(said) or (packet.is_corrupt and self._zeros_count)
        return bool(said) and not made.frames

    def _swallowed(self, packet: Any) -> float:
        """Seconds in a packet of bare frames that contains everything up to the next frame."""
        if self._format == "mp3":
            surplus = float(self._surplus(packet))
        else:
            huge = self._format in _FRAMED and self._huge(packet)
            surplus = packet.size - self._bytes / self._count if huge else 0.0
        if not surplus or not self._bytes:
            return 0.0
        self.damaged = True
        return float(surplus / self._bytes * self._seconds)

    def _surplus(self, packet: Any) -> int:
        """Bytes of an MP3 packet after its frame that are not a tag."""
        frame = mpeg.frame_bytes(bytes(memoryview(packet)[:4]))
        if frame <= 24:
            return int(packet.size) if self._huge(packet) else 0
        if frame >= packet.size - 24:
            return 0
        behind = bytes(memoryview(packet)[frame : frame + 3])
        return 0 if behind in _TAGS else int(packet.size - frame)

    def _skipped(self, packet: Any) -> float:
        """Seconds that a demuxer without times skips silently to find the next frame."""
        if self._reads is not None:
            place = _found(self._reads, bytes(memoryview(packet)[:_TELLING]), self._place)
        elif self._alone and packet.pos is not None:
            place = packet.pos
        else:
            return 0.0
        gap = place - self._place - (_CHUNK_HEAD if self._alone else 0)
        tag = self._reads is not None and self._reads(self._place, 3) in _TAGS
        self._place = place + packet.size
        if gap <= 0 or tag or self._count < 2 or (self._alone and gap < _LEAST_HUGE):
            return 0.0
        self.damaged = True
        return float(gap / self._bytes * self._seconds)

    def _huge(self, packet: Any) -> bool:
        return bool(
            self._count > 1 and packet.size >= _LEAST_HUGE and packet.size > _MANY * self._bytes / self._count
        )

    def _note(self, packet: Any, seconds: float) -> None:
        """Update the counts; `_even` is the size of all packets but the last, 0 if they differ."""
        if self._even and self._last_size and self._last_size != self._even:
            self._even = 0
        if not self._huge(packet):
            self._bytes += packet.size
            self._count += 1
            self._seconds += seconds
        self._even = self._even if self._last_size else packet.size
        self._last_size = packet.size
        if self._format in _FRAMED:
            self._last = bytes(memoryview(packet)[:4])
            self._end = None if packet.pos is None else packet.pos + packet.size

    def _breaks_off(self) -> bool:
        """Whether the file ends at a point that its container or last frame does not allow."""
        if self._torn_tail() or (self._format == "mp3" and self._torn_frame()):
            return True
        if self._format == "mp3":
            return False
        if self._ts.broken_off:
            return True
        share = share_held(self._format, self._stream, self._size)
        if cut_short(self._seconds, self._seconds / share):
            return True
        return (self.damaged or self._complained) and self.lengthless

    def _torn_tail(self) -> bool:
        """Whether bytes of sound are left after the last bare frame."""
        if self._format not in _FRAMED or self._end is None or not self._bytes:
            return False
        left = self._size - (self._place if self._reads is not None else self._end)
        if left / self._bytes * self._seconds > CUT_SECONDS and not isinstance(self._stream, View):
            return reads_at(self._stream)(self._size - left, 3) not in _TAGS
        odd = self._even and self._last_size != self._even
        return self._format != "mp3" and bool(0 < left < self._bytes / self._count or odd)

    def _torn_frame(self) -> bool:
        """Whether an MP3 file's last frame, or the bytes after it, lack their end."""
        if 4 <= self._last_size < mpeg.frame_bytes(self._last):
            return True
        if isinstance(self._stream, View) or self._end is None:
            return False
        return self._size - self._end < mpeg.frame_bytes(reads_at(self._stream)(self._end, 4))


def _all_zero(packet: Any) -> bool:
    data = bytes(packet)
    return len(data) > 8 and data.count(0) == len(data)


def _found(reads: ReadsAt, head: bytes, place: int) -> int:
    """Offset of `head` from `place` on; `place` if it is not found."""
    if reads(place, len(head)) == head:
        return place
    for step in range(0, _FARTHEST, _STEP):
        found = reads(place + step, _STEP + len(head)).find(head)
        if found >= 0:
            return place + step + found
    return place
