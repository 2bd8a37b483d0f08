"""Records of a track: the stretch it covers, and what the ledger keeps of each of its windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_batch.manifests.records import Cut
from asr_batch.models.recognizer import SAMPLE_RATE, TimedText
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.audit import HINT, audible_speech
from asr_batch.pipeline.guards import Outcome
from asr_batch.pipeline.windows.planning import SPEECH


@dataclass(frozen=True, slots=True)
class Place:
    """The stretch of a file that a track covers, and whose it is (for seeds)."""

    source: Source
    start: float
    end: float | None
    channel: str
    row: str
    soft_end: bool = False


@dataclass(slots=True)
class Take:
    """A window after planning: what the ledger needs of it, without its samples.

    `start`, `end` in samples from the start of the track; `level` and `speech` (probability)
    of each frame, in half precision. `outcome` None: skipped as silence.
    `sparse`: far less was written than this recording usually says in the time.
    """

    index: int
    start: int
    end: int
    cut: Cut
    level: Float32
    speech: Float32
    outcome: Outcome | None = None
    skipped: bool = False
    sparse: bool = False

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.end - self.start) / SAMPLE_RATE

    @property
    def heard(self) -> Mask:
        """Frames that Silero holds to be speech."""
        return self.speech >= SPEECH

    @property
    def hinted(self) -> Mask:
        """Frames that Silero does not rule out to be speech."""
        return self.speech >= HINT

    @property
    def places(self) -> tuple[TimedText, ...]:
        """Where its words were heard; empty where that is not told."""
        return self.outcome.result.places if self.outcome else ()

    def audible(self, threshold: float) -> Mask:
        """Frames that the audit holds to be speech, by the recording's `threshold`."""
        return audible_speech(self.level.astype(np.float32), self.heard, self.hinted, threshold)

    @property
    def heard_seconds(self) -> float:
        """Seconds that Silero holds to be speech."""
        return float(np.count_nonzero(self.heard)) / FRAMES_PER_SECOND
