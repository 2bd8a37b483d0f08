"""Records of a track: the stretch it covers, and the data kept of each window for the ledger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_batch.manifests.records import Cut
from asr_batch.models.recognizer import SAMPLE_RATE, TimedText
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.audit import HINT, audible_speech
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.text.words import words_of
from asr_batch.pipeline.thresholds import ASTRAY, BELIEVED_SECONDS, ENOUGH_SPEECH, HARDLY
from asr_batch.pipeline.unspoken import Witnesses, surest
from asr_batch.pipeline.windows.planning import SPEECH, Window


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

    @classmethod
    def of(cls, window: Window) -> DecodedWindow:
        """What is kept of a planned window."""
        return cls(
            window.index,
            window.start,
            window.end,
            window.cut,
            window.level.astype(np.float16),
            window.speech.astype(np.float16),
        )

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
        """Whether independent witnesses agree that nobody speaks (see :mod:`asr_batch.pipeline.unspoken`).

        They do not if they believed most of its speech when that was decoded again in parts.
        """
        witnesses = self.witnesses
        return witnesses is not None and witnesses.deny() and not self._believed().any()

    @property
    def hopeless(self) -> bool:
        """Whether they agree so clearly that it is not decoded again."""
        witnesses = self.witnesses
        return witnesses is not None and witnesses.deny_whatever_follows()

    @property
    def disputed(self) -> bool:
        """Whether its text is left out although Silero detects somebody for long, and not laughing.

        The text is worth nothing, but somebody may have spoken.
        """
        witnesses = self.witnesses if self.heard_seconds >= ENOUGH_SPEECH and self.unspoken else None
        return witnesses is not None and not witnesses.laughter()

    @property
    def witnesses(self) -> Witnesses | None:
        """What is known of its text; None without one."""
        if self.outcome is None or self.outcome.result.error is not None:
            return None
        return Witnesses(self.outcome.result, self.heard_seconds, surest(self.speech.astype(np.float32)))

    @property
    def astray(self) -> frozenset[int]:
        """Indices of words whose places are far from any speech, in a window with speech elsewhere."""
        frames = np.flatnonzero(self.heard | self._believed()) / FRAMES_PER_SECOND
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

    def _believed(self) -> Mask:
        """Frames of the confirmed stretches, if these hold a second, and most, of what Silero detects."""
        found = np.zeros(len(self.speech), np.bool_)
        for start, end in self.confirmed:
            found[start:end] = True
        inside = np.count_nonzero(self.heard & found) / FRAMES_PER_SECOND
        return found & (inside >= max(BELIEVED_SECONDS, self.heard_seconds / 2))

    def audible(self, threshold: float, *, settled: bool = True) -> Mask:
        """Frames that the audit classifies as speech, by the recording's `threshold`.

        In a window without speech, the frames of which Silero is sure. `settled`: its text is final.
        """
        if self.unspoken if settled else self.hopeless:
            return self.heard
        return audible_speech(self.level.astype(np.float32), self.heard, self.speech >= HINT, threshold)

    @property
    def heard_seconds(self) -> float:
        """Seconds that Silero classifies as speech."""
        return float(np.count_nonzero(self.heard)) / FRAMES_PER_SECOND
