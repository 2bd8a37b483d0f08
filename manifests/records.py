"""The records that cross package boundaries: frozen, slotted, small, without arrays.

A row passes through :class:`AudioItem` (manifest), one or several :class:`Unit` (driver), a
:class:`SpanResult` for each (worker), and one :class:`Transcript` (assembled by the pipeline, written by
the driver). All times are float seconds in the audio file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from asr_batch.manifests.errors import ErrorCode

Status = Literal["ok", "empty", "partial", "failed"]
Cut = Literal["silence", "valley", "forced", "end"]


@dataclass(frozen=True, slots=True)
class AudioItem:
    """One manifest row: what to transcribe, and the settings of this row that override the job's.

    `audio` is the text in the manifest, `location` the absolute path or URL (never `file://`) it resolves
    to. `channel` is `mix`, `split` or a channel number as text. `track` is an audio track of the file
    (None: chosen when it is read). `extra` holds the passed-through columns; it stays with the driver and
    is not sent to workers. `line` is the manifest line, for messages.
    """

    id: str
    audio: str
    location: str
    start: float | None = None
    end: float | None = None
    channel: str = "mix"
    language: str | None = None
    task: str | None = None
    prompt: str | None = None
    reference: str | None = None
    line: int = 0
    extra: tuple[tuple[str, Any], ...] = ()
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of work: one row, or one span of a long row that several workers share.

    `start` and `end` are the span's boundaries (`end` None: the end of the audio). With `soft_start` or
    `soft_end` the boundary is nominal: both neighbours move it to the same quiet place nearby, by the same
    rule from the same samples, so the spans tile the row whoever decodes them. `seconds` is the expected
    length of the audio (0.0 if unknown). `alone` asks for a worker without any other unit (after a crash).
    `deadline` is the wall time in seconds after which the unit counts as hung. `hashed`: the driver knows the
    hash of the file, which the worker then need not read for it. `payload` holds the compressed file when the
    worker cannot see `item.location`.
    """

    item: AudioItem
    index: int = 0
    count: int = 1
    start: float = 0.0
    end: float | None = None
    soft_start: bool = False
    soft_end: bool = False
    seconds: float = 0.0
    attempt: int = 1
    alone: bool = False
    deadline: float = 0.0
    hashed: bool = False
    payload: bytes | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, int]:
        """The unit's identity within a job: (row id, span index)."""
        return self.item.id, self.index


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its times; `prob` is the mean probability of its tokens."""

    start: float
    end: float
    word: str
    prob: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of transcript, as in the column `segments` (docs/outputs.md); nothing is sampled."""

    start: float
    end: float
    text: str
    channel: int
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    flags: tuple[str, ...] = ()
    language: str | None = None
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A decoding of a window that was rejected; `source` names the attempt or model."""

    source: str
    text: str
    avg_logprob: float
    compression_ratio: float
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class WindowRecord:
    """One decoded (or skipped) window: a row of windows/*.parquet.

    `segments` are the window's pieces of text (by timestamp tokens, or else one piece) and `words` its
    words, both in file time and already cut to [keep_start, keep_end). `speech` is the seconds of speech
    according to the audit, `uncovered` the stretches of speech without accepted text. `channel` is -1 for
    a mix. `arithmetic` is `kernels` (bit-identical on every processor), `graphs` (other) or empty.
    """

    index: int
    start: float
    end: float
    keep_start: float
    keep_end: float
    cut: Cut
    text: str
    tokens: tuple[int, ...] = ()
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 0.0
    temperature: float = 0.0
    speech: float = 0.0
    words_per_second: float = 0.0
    flags: tuple[str, ...] = ()
    encoder_backend: str = "cpu"
    node: str = ""
    batch: int = 0
    channel: int = -1
    language: str | None = None
    uncovered: tuple[tuple[float, float], ...] = ()
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] | None = None
    hypotheses: tuple[Hypothesis, ...] = ()
    arithmetic: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit has no transcript: an error code and one sentence."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class SpanResult:
    """What a worker returns for one unit. If `failure` is set there are no windows.

    `start` and `end` are the exact boundaries that the windows tile. `audio_sha256` is the hash of the file,
    empty if the worker did not read it for that. `language_prob` is None if the language was not detected.
    `problem` makes the row `partial` although it has windows (a truncated file, samples that are NaN).
    `notes` say how the audio was read (which track, which channel), and that the given language is hardly
    heard; they change no status.
    """

    key: tuple[str, int]
    start: float = 0.0
    end: float = 0.0
    windows: tuple[WindowRecord, ...] = ()
    language: str | None = None
    language_prob: float | None = None
    audio_sha256: str = ""
    model_sha256: str = ""
    node: str = ""
    decode_seconds: float = 0.0
    decoded_seconds: float = 0.0
    failure: Failure | None = None
    problem: Failure | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """One finished row, ready for transcripts/*.parquet (docs/outputs.md)."""

    id: str
    audio: str
    status: Status
    error_code: ErrorCode | None = None
    error_message: str | None = None
    text: str = ""
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] | None = None
    language: str | None = None
    language_prob: float | None = None
    duration: float = 0.0
    speech: float = 0.0
    coverage: float = 1.0
    uncovered: tuple[tuple[float, float], ...] = ()
    encoder_backend: str = "cpu"
    node: str = ""
    attempts: int = 1
    decode_seconds: float = 0.0
    audio_sha256: str = ""
    model_sha256: str = ""
    windows: tuple[WindowRecord, ...] = ()
    notes: tuple[str, ...] = ()
