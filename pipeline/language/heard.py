"""What detection listens to: a stretch of a row with its speech, and its utterances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND, Float32, Mask, Meter
from asr_batch.pipeline.requests import prepared
from asr_batch.pipeline.thresholds import ENOUGH_TO_TELL, PAUSE
from asr_batch.pipeline.windows.planning import SPEECH
from asr_batch.pipeline.windows.utterances import utterances

Detect = Callable[[Sequence[Samples], Sequence[str]], Sequence[Mapping[str, float]]]
"""Probability of each given language in each given window."""

Utterance = tuple[Samples, float]
"""Samples as for decoding, and the seconds of speech in them."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A window of the row: samples (None: not kept), level, and whether somebody speaks, per frame."""

    samples: Samples | None
    level: Float32
    speech: Mask

    @property
    def seconds(self) -> float:
        """Seconds of speech by Silero."""
        return float(np.count_nonzero(self.speech)) / FRAMES_PER_SECOND

    def prepared(self) -> Samples:
        """The samples as for decoding."""
        assert self.samples is not None
        return prepared(self.samples, self.level, self.speech)

    def utterances(self) -> list[Utterance]:
        """The utterances with enough speech to tell their language, and its seconds, if there are several."""
        assert self.samples is not None
        _, pieces, seconds = in_utterances(self.samples, self.level, self.speech)
        if len(pieces) == 1:
            return []
        parts = zip(pieces, seconds, strict=True)
        return [(piece, spoken) for piece, spoken in parts if spoken >= ENOUGH_TO_TELL]


def hear(samples: Samples, *, keep: bool) -> Heard:
    """Measure a stretch; `keep` its samples as well."""
    parts = list(Meter().measure([samples]))
    level, speech = (
        np.concatenate([np.zeros(0, np.float32), *(getattr(part, name) for part in parts)])
        for name in ("level", "speech")
    )
    return Heard(samples if keep else None, level, speech >= SPEECH)


def mean(voters: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean probability of each language."""
    total: dict[str, float] = {}
    for chances in voters:
        for code, chance in chances.items():
            total[code] = total.get(code, 0.0) + chance
    return {code: chance / sum(total.values()) for code, chance in total.items()}


def in_utterances(
    samples: Samples, level: Float32, speech: Mask
) -> tuple[list[int], list[Samples], list[float]]:
    """The utterances of a window: their edges in frames, their samples as for decoding, and their seconds of
    speech.
    """
    edges = utterances(level, speech, PAUSE, 0, len(level))
    parts = list(pairwise(edges))
    pieces = [prepared(samples[a * FRAME : b * FRAME], level[a:b], speech[a:b]) for a, b in parts]
    return edges, pieces, [np.count_nonzero(speech[a:b]) / FRAMES_PER_SECOND for a, b in parts]
