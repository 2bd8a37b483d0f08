"""The windows of a row that vote on its language: some with speech, spread over all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.language.heard import Heard, hear
from asr_batch.pipeline.thresholds import ENOUGH_TO_TELL

_FIRST_LOOK = 8  # windows of the first round, whose samples are kept; each round doubles the number


@dataclass(slots=True)
class Voters:
    """Windows of `length` seconds, by position in the row, which is a `stretch` (seconds) of a file."""

    source: Source
    stretch: tuple[float, float]
    channel: str
    track: int | None
    length: float
    found: dict[float, Heard] = field(default_factory=dict)

    def look(self, wanted: int) -> None:
        """Search until this many windows have speech; keep the samples of the first ones."""
        start, end = self.stretch
        places = min(_FIRST_LOOK, max(1, math.ceil((end - start) / self.length)))
        while True:
            step = (end - start) / places
            asked = {round(max(0.0, (index + 0.5) * step - self.length / 2), 2) for index in range(places)}
            for at, samples in self._read(sorted(asked - self.found.keys())):
                self.found[at] = hear(samples, keep=places <= _FIRST_LOOK)
            if sum(one.seconds >= ENOUGH_TO_TELL for one in self.found.values()) >= wanted:
                return
            if step <= self.length:
                return
            places *= 2

    def chosen(self, wanted: int) -> dict[float, Heard]:
        """This many of the windows found, with their samples, in order of time."""
        chosen = self._spread(wanted)
        gone = [at for at in chosen if self.found[at].samples is None]
        again = dict(self._read(gone))
        windows = {
            at: replace(self.found[at], samples=again.get(at, self.found[at].samples)) for at in chosen
        }
        return {at: window for at, window in windows.items() if len(window.level)}

    def first(self) -> Heard:
        """The window at the beginning of the row."""
        ((_, samples),) = self._read([0.0])
        return hear(samples, keep=True)

    def _spread(self, wanted: int) -> list[float]:
        """Positions of windows with enough speech, spread evenly; else the best."""
        speaking = sorted(at for at, one in self.found.items() if one.seconds >= ENOUGH_TO_TELL)
        if not speaking:
            return [min(self.found, key=lambda at: (-self.found[at].seconds, at))]
        if len(speaking) <= wanted:
            return speaking
        return [speaking[index * len(speaking) // wanted] for index in range(wanted)]

    def _read(self, places: list[float]) -> Iterator[tuple[float, Samples]]:
        """The samples of the windows at these seconds of the row, in order of time."""
        reader = Rereader(self.source, *self.stretch, self.channel, self.track)
        length = round(self.length * SAMPLE_RATE)
        try:
            for at in places:
                first = round(at * SAMPLE_RATE)
                yield at, reader.read(first, first + length)
        finally:
            reader.close()
