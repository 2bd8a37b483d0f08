"""Records of a track: the stretch it covers, and the data kept of each window for the ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asr_batch.manifests.records import Cut
from asr_batch.models.recognizer import SAMPLE_RATE, TimedText, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.audit import HINT, audible_speech
from asr_batch.pipeline.guards import ENDLESS, Outcome
from asr_batch.pipeline.text.words import words_of
from asr_batch.pipeline.thresholds import (
    ASTRAY,
    DOUBTED,
    HARDLY,
    HOPELESS,
    LOGPROB,
    NO_SPEECH,
    NOTHING,
    SCARCE,
    SILENT_MODEL,
    SILENT_SECONDS,
)
from asr_batch.pipeline.windows.planning import SPEECH


@dataclass(frozen=True, slots=True)
class Stretch:
    """The stretch of a file to decode; `track` is one of its audio tracks, None: chosen when it is read."""

    source: Source
    start: float
    end: float | None
    channel: str
    track: int | None = None


@dataclass(slots=True)
class DecodedWindow:
    """A window after planning: the data for the ledger, without samples.

    `start`, `end` in samples from the start of the track; `level` and `speech` (probability) of each
    frame, in half precision. `outcome` None: skipped as silence. `confirmed`: stretches in frames that a
    second decoding found complete.
    """

    index: int
    start: int
    end: int
    cut: Cut
    level: Float32
    speech: Float32
    outcome: Outcome | None = None
    skipped: bool = False
    confirmed: tuple[tuple[int, int], ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.end - self.start) / SAMPLE_RATE

    @property
    def heard(self) -> Mask:
        """Frames that Silero classifies as speech."""
        return self.speech >= SPEECH

    @property
    def places(self) -> tuple[TimedText, ...]:
        """Positions of its words; empty if the engine has none."""
        return self.outcome.result.places if self.outcome else ()

    @property
    def unspoken(self) -> bool:
        """Whether independent signals agree that nobody speaks.

        The signals are Silero, the model's no-speech probability, and the low probability of its text or a
        loop in it.
        """
        if self.outcome is None or self.outcome.result.error is not None:
            return False
        if self.heard_seconds < HARDLY:
            return self._hardly_spoken(self.outcome.result, self.outcome.flags)
        result, few = self.outcome.result, self.heard_seconds < SILENT_SECONDS
        denied = result.no_speech_prob > SILENT_MODEL
        if result.avg_logprob < HOPELESS and (denied or self.heard_seconds < SCARCE * self.seconds):
            return True
        return few and (self.outcome.flags >= ENDLESS or (denied and result.avg_logprob < LOGPROB))

    def _hardly_spoken(self, result: WindowResult, flags: frozenset[str]) -> bool:
        """The same for a window in which Silero detects hardly any speech: one more signal is enough."""
        nothing = self.heard_seconds < NOTHING
        doubted = result.avg_logprob < DOUBTED or bool(flags & ENDLESS)
        if result.avg_logprob < LOGPROB or flags >= ENDLESS or (nothing and doubted):
            return True
        if math.isnan(result.no_speech_prob):
            return not (self.speech >= HINT).any()
        return result.no_speech_prob >= NO_SPEECH and (nothing or doubted)

    @property
    def astray(self) -> frozenset[int]:
        """Indices of words whose places are far from any speech, in a window with speech elsewhere."""
        frames = np.flatnonzero(self.heard) / FRAMES_PER_SECOND
        if self.outcome is None or self.heard_seconds < HARDLY:
            return frozenset()
        if [place.text for place in self.places] != words_of(self.outcome.result.text):
            return frozenset()
        starts = np.array([place.start for place in self.places])[:, None]
        ends = np.array([place.end for place in self.places])[:, None]
        # The nearest frame of speech is a neighbour of the middle of a word.
        near = np.searchsorted(frames, (starts + ends) / 2) + np.arange(-2, 2)
        heard = frames[np.clip(near, 0, len(frames) - 1)]
        gaps = np.maximum(starts - heard, heard - ends).min(axis=1)
        return frozenset(np.flatnonzero(gaps > ASTRAY).tolist())

    def audible(self, threshold: float) -> Mask:
        """Frames that the audit classifies as speech, by the recording's `threshold`.

        In a window without speech, the frames of which Silero is sure.
        """
        if self.unspoken:
            return self.heard
        return audible_speech(self.level.astype(np.float32), self.heard, self.speech >= HINT, threshold)

    @property
    def heard_seconds(self) -> float:
        """Seconds that Silero classifies as speech."""
        return float(np.count_nonzero(self.heard)) / FRAMES_PER_SECOND
