"""Combined decoders: chained parts one after the other, and FFmpeg where libsndfile fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.audio.decoders import libsndfile
from asr_batch.pipeline.audio.decoders.decoder import AudioInfo, Block, Damage, Decoder

Opener = Callable[[], Decoder]


def unreadable(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What decoders raise for a file that they cannot read, and `others`.

    Does not import PyAV, which raises nothing before.
    """
    loaded: Any = getattr(sys.modules.get("av.error"), "FFmpegError", None)
    own = (loaded,) if loaded else ()
    return (*libsndfile.Trouble, ValueError, *own, *others)


def lacks_decoder(error: Exception) -> bool:
    """Whether FFmpeg has no decoder for the codec."""
    loaded: Any = getattr(sys.modules.get("av.error"), "DecoderNotFoundError", None)
    return loaded is not None and isinstance(error, loaded)


class Chain:
    """Consecutive parts, each with its own times. Raises what the first one raises."""

    def __init__(self, parts: Sequence[Opener], broken_off: bool, whole: bool = True) -> None:
        self.damage = Damage(broken_off=broken_off)
        self.notes: tuple[str, ...] = ()
        self._parts = list(parts)
        self._open: Decoder | None = self._parts[0]()
        infos = [self._open.info, *(_info(part) for part in self._parts[1:])]
        duration = sum(info.duration for info in infos if info is not None)
        self.info: AudioInfo = replace(
            self._open.info, duration=duration, promised=0.0 if whole else duration, seekable=False
        )

    def blocks(self, start: float) -> Iterator[Block]:
        """All parts from the first on."""
        begin = end = 0.0
        for part in self._parts:
            decoder = self._opened(part)
            if decoder is None:
                self.damage.broken_off = True
                continue
            for block in decoder.blocks(0.0):
                block.start += begin
                end = block.end
                yield block
            for hole in decoder.damage.holes:
                self.damage.add(begin + hole[0], begin + hole[1])
            self.close()
            begin = end

    def _opened(self, part: Opener) -> Decoder | None:
        """The opened part; the first one is already open."""
        try:
            self._open = self._open or part()
        except unreadable(ItemError):
            return None
        return self._open

    def close(self) -> None:
        """Release the file."""
        if self._open is not None:
            self._open.close()
            self._open = None


class Mended:
    """libsndfile up to the first damage, FFmpeg after it; the times of both count samples."""

    def __init__(self, first: libsndfile.SoundFile, second: Opener) -> None:
        self.info = first.info
        self.damage = first.damage
        self.notes: tuple[str, ...] = ()
        self._first, self._second = first, second
        self._open: Decoder = first

    def blocks(self, start: float) -> Iterator[Block]:
        """Blocks from the second `start` on."""
        place = start
        try:
            for block in self._first.blocks(start):
                place = block.end
                yield block
            return
        except libsndfile.Trouble:
            self._first.close()
        self._open = self._second()
        for block in self._open.blocks(0.0):
            if block.end > place:
                yield _behind(block, place)
        for first, last in self._open.damage.holes:
            self.damage.add(max(first, start), last)

    def close(self) -> None:
        """Release the file."""
        self._open.close()


def _behind(block: Block, place: float) -> Block:
    """The part of a block from second `place` on."""
    skip = max(0, round((place - block.start) * block.rate))
    return block if not skip else Block(place, block.samples[skip:], block.rate, block.layout)


def _info(part: Opener) -> AudioInfo | None:
    try:
        decoder = part()
    except unreadable(ItemError):
        return None
    decoder.close()
    return decoder.info
