"""Reads stretches of a track again in order of time, for retries: by seeking, or in one decoding pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from asr_batch.pipeline.audio.reader import AudioStream, probe, read_samples
from asr_batch.pipeline.audio.source import Source


class Rereader:
    """Samples [start, end) counted from the start of a track; starts must not decrease."""

    def __init__(
        self, source: Source, start: float, end: float, channel: str, track: int | None = None
    ) -> None:
        self._source = source
        self._start = start
        self._end = end
        self._channel = channel
        self._track = track
        self.seekable = probe(source, track).seekable
        self._stream: AudioStream | None = None
        self._blocks: Iterator[Samples] = iter(())
        self._held: Samples = np.zeros(0, np.float32)
        self._held_from = 0

    def read(self, start: int, end: int) -> Samples:
        """The samples; fewer at the end of the track. Raises ItemError as `AudioStream`."""
        if self.seekable:
            begin = self._start + start / SAMPLE_RATE
            until = min(self._start + end / SAMPLE_RATE, self._end)
            return read_samples(self._source, begin, until, self._channel, track=self._track)[: end - start]
        return self._forward(start, end)

    def _forward(self, start: int, end: int) -> Samples:
        if self._stream is None:
            self._stream = AudioStream(self._source, self._start, self._end, self._channel, track=self._track)
            self._blocks = self._stream.blocks()
        while self._held_from + len(self._held) < end:
            block = next(self._blocks, None)
            if block is None:
                break
            drop = min(max(0, start - self._held_from), len(self._held))
            self._held = np.concatenate((self._held[drop:], block))
            self._held_from += drop
        return self._held[start - self._held_from : end - self._held_from]

    def close(self) -> None:
        """Release the file."""
        if self._stream is not None:
            self._stream.close()
