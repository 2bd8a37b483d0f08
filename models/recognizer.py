"""The interface between pipeline and models: windows in, one result per window out.

A recognizer is push-and-poll, so that a guard can put a window back into the *running* batch with other
options: the pipeline submits windows of any files while `room()` allows it, and `poll()` advances the
engine until at least one of them is finished. Batching happens inside; results come in any order, each
with the `key` of its request; every submitted request comes back exactly once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Sample rate of all audio in this interface, in Hz."""

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Properties and capabilities of a loaded model; all that other packages know about a family.

    `window` is the longest window in seconds, `sha256` covers every file that affects the output,
    `languages` are the codes it knows (empty: unknown), `capabilities` a subset of `timestamps`,
    `word_timestamps`, `language_detection`, `translate`, `prompt`, `no_speech`, `beam`.
    `warning` is one sentence for the user (the demonstration model has one). `batch` is the number of
    windows that decode together. `longest` is the longest window in seconds with `cpu_encoder`; 0: `window`.
    """

    name: str
    family: str
    path: str
    sha256: str
    precision: str
    window: float
    languages: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    encoder_backend: str = "cpu"
    provider: str = "cpu"
    batch: int = 1
    warning: str | None = None
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How one window is decoded; windows with different options share a running batch.

    `suppress_first_eot` forbids end-of-text as first token (for windows with speech); `None` follows the
    model's generation config. `glossary` lists expected terms, the most important first. `max_new_tokens`
    None: as many as the model's context allows. `cpu_encoder`: encode on the CPU even if there is an NPU.
    `plain` decodes exactly like `transformers.generate` (greedy, `<|notimestamps|>`, suppressing only the
    ids in generation_config).
    `search`: look for a likelier text close to the greedy one (models with `beam`).
    `among`: candidates for the language of a window without `language`; empty: all that the model knows.
    `least_logprob`: a text is not finished once its log-probability, summed over its tokens, is lower.
    `draft`: tokens of a text that this one is probably like. It is decoded faster then, and is the same.
    """

    language: str | None = None
    among: tuple[str, ...] = ()
    task: str | None = None
    prompt: str | None = None
    glossary: tuple[str, ...] = ()
    timestamps: bool = False
    word_timestamps: bool = False
    beam_size: int = 1
    max_new_tokens: int | None = None
    suppress_first_eot: bool | None = None
    cpu_encoder: bool = False
    plain: bool = False
    search: bool = False
    least_logprob: float = -math.inf
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """One window: `samples` float32 in [-1, 1], mono, 16 kHz, at most `ModelInfo.window` seconds long."""

    key: Hashable
    samples: Samples
    options: DecodeOptions = DecodeOptions()


@dataclass(frozen=True, slots=True)
class TimedText:
    """A piece of text with start and end in seconds from the start of the window."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with start and end in seconds from the start of the window and its mean token probability."""

    start: float
    end: float
    word: str
    prob: float


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The outcome of one window.

    `tokens` are the generated ids without prompt and end-of-text; `avg_logprob` is the mean natural
    log-probability over them and end-of-text; `first_logprob` is that of the first token
    of the text (NaN: unknown); `recurring_doubt` is the probability of other words where a word that
    recurs was written first (0: none, or unknown). `no_speech_prob` is NaN if the family has none.
    `languages` are the most likely languages of this window with their probabilities, highest first,
    independently of the `language` it was decoded in; empty without detection. `segments` is empty unless
    timestamps were requested and are consistent; `words` is None unless word times were requested and the
    graph gives attentions. `places` are the words with the time to which the decoder attended for each, for
    the audit: coarse (0.1 s) but free. The last one ends where end-of-text was decided; empty without
    attentions. `truncated`: the token limit ended the text. If the engine gave NaN or failed on this window
    alone, `error` is set and the text is empty. `arithmetic`: `kernels` are bit-identical on every
    processor, `graphs` (of ONNX Runtime) are not.
    """

    key: Hashable
    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    truncated: bool = False
    language: str | None = None
    languages: tuple[tuple[str, float], ...] = ()
    segments: tuple[TimedText, ...] = ()
    words: tuple[TimedWord, ...] | None = None
    places: tuple[TimedText, ...] = ()
    encoder_backend: str = "cpu"
    batch: int = 0
    flags: tuple[str, ...] = ()
    error: str | None = None
    arithmetic: str = "graphs"
    first_logprob: float = math.nan
    recurring_doubt: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded.

    `threads` 0: all cores; `batch_size` 0: the engine's choice; `window` None: the model's own length in
    seconds. `npu_service`: share the NPU with other processes through the vendor's service (docs/hailo.md)
    instead of holding it alone.
    """

    precision: Literal["auto", "fp32", "int8", "int4"] = "auto"
    provider: str = "auto"
    encoder: Literal["auto", "cpu", "hailo"] = "auto"
    decoder: Literal["auto", "cpu", "npu"] = "auto"
    threads: int = 0
    batch_size: int = 0
    window: float | None = None
    probe_minutes: float = 1.0
    npu_service: bool = False


class Recognizer(Protocol):
    """A loaded model. Not thread-safe: one thread submits and polls."""

    @property
    def info(self) -> ModelInfo:
        """Properties and capabilities of this model."""

    def room(self) -> int:
        """Number of further windows needed to keep the slots full (0: call poll first)."""

    def submit(self, request: WindowRequest) -> None:
        """Accept a window. Raises ItemError for unsupported options (such as an unknown language)."""

    def pending(self) -> int:
        """Number of submitted windows that `poll` has not returned."""

    def poll(self) -> list[WindowResult]:
        """Work until at least one window is finished; returns all finished ones ([] if none is pending)."""

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """Probability of each language code for each window (a list of empty dicts without detection).

        `among`: the candidate languages; empty: all that the model knows. `whole`: behind short windows,
        encode all the silence that the model was trained with, if it can; slower, and more often right.
        """

    def confirm(self) -> bool:
        """Check that all windows since the last call can be trusted (parity probe of an NPU).

        Always True on a CPU. False: the results since the last True are suspect and must be decoded again;
        the recognizer has already switched to an encoder that can be trusted.
        """

    def occupancy(self) -> tuple[int, int]:
        """Slot-steps used and slot-steps available since loading (their ratio is the occupancy)."""

    def close(self) -> None:
        """Release devices and memory; no other call afterwards."""
