"""Reads sound files as float32 samples at 16 kHz, as a stream of blocks in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from asr_batch.manifests.errors import ItemError
from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from asr_batch.pipeline.audio.decoders.chain import unreadable
from asr_batch.pipeline.audio.decoders.decoder import AudioInfo, Block, cut_short
from asr_batch.pipeline.audio.decoders.opening import open_decoder
from asr_batch.pipeline.audio.mixing import Mixer
from asr_batch.pipeline.audio.rumble import HALF, without_rumble
from asr_batch.pipeline.audio.source import Source, shown

__all__ = ["AudioInfo", "AudioStream", "length_of", "probe", "read_samples"]

_BEFORE = 0.25  # minimum seconds read before a stretch, until filters and fades have settled
_BEHIND = (HALF + 64) / SAMPLE_RATE  # seconds read after it


def probe(source: Source, track: int | None = None) -> AudioInfo:
    """Read a file's metadata without decoding it (of several tracks, as much as needed to choose one).

    Raises ItemError (`not_found`, `unreadable`, `empty_file`, `unsupported_codec`, `bad_track`).
    """
    decoder = open_decoder(source, track)
    decoder.close()
    return decoder.info


class AudioStream:
    """A stretch of a file, mono at 16 kHz, as blocks of about a second.

    `channel` is `mix` or a channel number as text; `track` a track number, or None to choose one; `plain`
    keeps offset and rumble. After the last block, `end` is the second of the file where the audio really
    ended; `short` tells whether that is before the requested end (or the header's); `replaced` counts
    samples that were NaN or infinite and became 0; `damage` is what could not be read; `notes` describe
    the choice of track and channel if there was one. Raises ItemError as `probe`, and `bad_channel`.
    """

    def __init__(
        self,
        source: Source,
        start: float = 0.0,
        end: float | None = None,
        channel: str = "mix",
        *,
        track: int | None = None,
        plain: bool = False,
    ) -> None:
        self._source = source
        self._decoder = open_decoder(source, track)
        self.info = self._decoder.info
        self.damage = self._decoder.damage
        try:
            self._mixer = Mixer(_channel_index(channel, self.info.channels))
        except ItemError:
            self.close()
            raise
        self._asked = end
        self._plain = plain
        self.start = start
        self.end = start
        self.reached = 0.0
        self.short = False

    @property
    def replaced(self) -> int:
        """Number of samples that were NaN or infinite."""
        return self._mixer.replaced

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the choice of track and channel."""
        alone = self._mixer.alone
        told = f"the mix of its channels is much weaker than one of them for {alone:.1f} s: that one was used"
        return (*self._decoder.notes, *((told,) if alone else ()))

    def blocks(self) -> Iterator[Samples]:
        """The samples as float32 blocks [n]; the same arguments always give the same blocks."""
        self._position = self._origin = 0.0
        parts: Iterator[Samples] = self._resampled()
        if not self._plain:
            parts = without_rumble(parts)
        place = 0
        for part in parts:
            first = round(self.start * SAMPLE_RATE) - round(self._origin * SAMPLE_RATE)
            last = place + len(part)
            if self._asked is not None:
                last = min(last, round(self._asked * SAMPLE_RATE) - round(self._origin * SAMPLE_RATE))
            wanted = part[max(0, first - place) : max(0, last - place)]
            place += len(part)
            if len(wanted):
                yield wanted
        self._judge_end()

    def _judge_end(self) -> None:
        reached = self.reached = self._position
        if self._asked is None:
            self.end = max(self.start, reached)
            self.short = cut_short(reached, self.info.promised)
            return
        # The requested boundary itself, not its nearest sample: the next span of the row starts there.
        self.short = reached < self._asked - 1.0 / self.info.sample_rate
        self.end = max(self.start, reached) if self.short else self._asked

    def _resampled(self) -> Iterator[Samples]:
        """Mono at 16 kHz from second `_origin` on, a few samples before the start."""
        rate, resampler = 0, None
        for block in self._continuous():
            if block.rate != rate:
                if resampler is not None:
                    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
                rate, resampler = block.rate, _resampler(block.rate)
            mono = self._mixer.mono(block)
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _continuous(self) -> Iterator[Block]:
        """The decoder's blocks from shortly before the start on, with silence in gaps."""
        begin = float(max(0, int(self.start - _BEFORE) - 1)) if self.start else 0.0
        until = None if self._asked is None else self._asked + _BEHIND
        started = False
        for block in _filled(self._decoded(begin), begin if self.info.seekable else 0.0):
            if block.end <= begin:
                self._position = block.end
                continue
            if not started:
                started, self._origin = True, block.start
            yield block
            self._position = block.end
            if until is not None and self._position >= until:
                return

    def _decoded(self, begin: float) -> Iterator[Block]:
        try:
            yield from self._decoder.blocks(begin)
        except unreadable(IndexError) as error:
            raise ItemError("unreadable", f"{shown(self._source)} cannot be decoded: {error}") from error

    def close(self) -> None:
        """Release the file."""
        self._decoder.close()


def _filled(blocks: Iterable[Block], position: float) -> Iterator[Block]:
    """The blocks with silence of up to a second each for gaps after `position`."""
    for block in blocks:
        missing = round((block.start - position) * block.rate)
        while missing > 0:
            count = min(missing, block.rate)
            silence = np.zeros((count, block.samples.shape[1]), np.float32)
            yield Block(position, silence, block.rate, block.layout)
            position += count / block.rate
            missing -= count
        yield block
        position = block.end


def _resampler(rate: int) -> soxr.ResampleStream | None:
    return None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")


def read_samples(
    source: Source, start: float, end: float, channel: str = "mix", *, track: int | None = None
) -> Samples:
    """The stretch [start, end) of a file as one array; for seconds of audio, not for whole files.

    Raises ItemError as `AudioStream`.
    """
    stream = AudioStream(source, start, end, channel, track=track)
    try:
        blocks = list(stream.blocks())
    finally:
        stream.close()
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def length_of(source: Source, track: int | None = None) -> float:
    """Seconds of a file without a length in its header, by decoding it.

    Raises ItemError as `AudioStream`.
    """
    stream = AudioStream(source, track=track, plain=True)
    try:
        for _ in stream.blocks():
            pass
    finally:
        stream.close()
    return stream.end


def _channel_index(channel: str, count: int) -> int | None:
    if channel == "mix":
        return None
    if not channel.isdecimal() or int(channel) >= count:
        raise ItemError("bad_channel", f"channel {channel!r} is not in this file; it has 0 to {count - 1}")
    return int(channel)
