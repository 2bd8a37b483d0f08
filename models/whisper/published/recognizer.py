"""Whisper in the published ONNX layouts, as on the hub.

A folder has `config.json`, `generation_config.json`, `tokenizer.json` and, in `onnx/` or beside them,
`encoder_model*.onnx` with either `decoder_model_merged*.onnx` (one graph with `use_cache_branch`) or
`decoder_model*.onnx` + `decoder_with_past_model*.onnx`. All sizes are read from the files and checked.

Windows start together in groups and run in lock step, because the graphs have no mask for unequal lengths;
:mod:`asr_batch.models.whisper.recognizer` refills its slots and is several times faster.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.features import FRAMES_PER_SECOND
from asr_batch.models.recognizer import (
    SAMPLE_RATE,
    LoadOptions,
    ModelInfo,
    Recognizer,
    Samples,
    TimedWord,
    WindowRequest,
    WindowResult,
)
from asr_batch.models.whisper.alignment import alignment_heads, word_times
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.outcome import window_result
from asr_batch.models.whisper.published.files import Files, choose_files, graph_folder
from asr_batch.models.whisper.published.graphs import Cache, PublishedEncoder, keep_rows, open_decoder
from asr_batch.models.whisper.rules import Decoding, TokenRules, language_chances
from asr_batch.models.whisper.silence import features
from asr_batch.models.whisper.tokenizer import WhisperTokenizer, prompt_ids, sot_index

_BATCH = 8


def matches(path: Path) -> bool:
    """Whether the folder has the names of a published Whisper export."""
    return (path / "config.json").is_file() and any(graph_folder(path).glob("encoder_model*.onnx"))


def load(path: Path, options: LoadOptions) -> Recognizer:
    """Load the folder's graphs. Raises ModelError if something does not fit."""
    if options.encoder == "hailo":
        raise ModelError(
            f"{path}: a published ONNX folder has no NPU encoder; compile a bundle, then add-hef"
        )
    files = choose_files(path, options.precision)
    return PublishedWhisper(path, files, WhisperConfig.from_folder(path), options)


@dataclass(slots=True)
class _Job:
    """A window in progress: its request and the state of its decoding."""

    request: WindowRequest
    decoding: Decoding
    batch: int = 0
    listened: list[NDArray[np.float32]] = field(default_factory=list, repr=False)


class PublishedWhisper:
    """A Whisper in the published layout; implements `Recognizer`."""

    def __init__(self, path: Path, files: Files, config: WhisperConfig, options: LoadOptions) -> None:
        self._config = config
        self._tokenizer = WhisperTokenizer(path, config)
        self._rules = TokenRules(config)
        self._encoder = PublishedEncoder(files.encoder, config, options)
        self._decoder = open_decoder(files.merged, files.first, files.past, config, options)
        batch = options.batch_size or (_BATCH if files.precision == "fp32" else 1)
        self._fallback = self._encoder.fallback or self._decoder.fallback
        self._info = self._describe(path, files, batch, options.window)
        self._queue: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._cache: Cache | None = None
        self._batches = self._used = self._available = 0

    def _describe(self, path: Path, files: Files, batch: int, window: float | None) -> ModelInfo:
        config, longest = self._config, self._encoder.frames / FRAMES_PER_SECOND
        can = {"prompt"} if config.previous is not None else set()
        can |= {"timestamps"} if config.timestamp_begin is not None else set()
        heads = {layer for layer, _ in alignment_heads(config)}
        can |= {"word_timestamps"} if self._decoder.has_attention(heads) else set()
        can |= {"no_speech"} if config.no_speech is not None else set()
        can |= {"language_detection"} if config.multilingual else set()
        can |= {"translate"} if config.multilingual and config.translate is not None else set()
        return ModelInfo(
            name=path.name,
            family="whisper",
            path=str(path),
            sha256=files.fingerprint(path),
            precision=files.precision,
            window=min(window or longest, longest),
            languages=tuple(sorted(config.languages)) if config.multilingual else ("en",),
            capabilities=frozenset(can),
            provider=self._encoder.provider,
            batch=batch,
        )

    @property
    def info(self) -> ModelInfo:
        """Properties and capabilities of this model."""
        return self._info

    def room(self) -> int:
        """Number of further windows so that the next group is full."""
        return max(0, 2 * self._info.batch - self.pending())

    def pending(self) -> int:
        """Windows submitted and not returned."""
        return len(self._queue) + len(self._running)

    def submit(self, request: WindowRequest) -> None:
        """Queue a window. Raises ItemError for options that the model does not support."""
        options = request.options
        if options.language is None and self._config.multilingual:
            (chances,) = self.detect_language([request.samples], options.among)
            options = replace(options, language=next(iter(chances), None))
        prompt = prompt_ids(self._config, self._tokenizer, options)
        self._queue.append(_Job(request, self._rules.start(options, prompt)))

    def poll(self) -> list[WindowResult]:
        """Start a group if none is running, then step until at least one window ends."""
        if not self._running and self._queue:
            self._start_group()
        while self._running:
            ended = [job for job in self._running if job.decoding.done]
            if ended:
                self._drop_ended()
                return [self._result(job) for job in ended]
            self._step()
        return []

    def _start_group(self) -> None:
        """Encode and prefill the queue's first window and others with a prompt of the same length."""
        length = len(self._queue[0].decoding.prompt)
        group = [job for job in self._queue if len(job.decoding.prompt) == length][: self._info.batch]
        for job in group:
            self._queue.remove(job)
        self._batches += 1
        hidden = self._encode([job.request.samples for job in group])
        ids = np.array([job.decoding.prompt for job in group], np.int64)
        logits, self._cache = self._decoder.prefill(ids, hidden)
        for job, row in zip(group, logits, strict=True):
            job.batch = self._batches
            at = sot_index(self._config, job.decoding.prompt)
            self._rules.begin(job.decoding, row[at])
        self._running = group
        self._choose(np.ascontiguousarray(logits[:, -1]))

    def _encode(self, windows: Sequence[Samples]) -> NDArray[np.float32]:
        """Hidden states [batch, positions, width] of audio windows, each extended with silence."""
        bins, positions, trained = (
            self._config.n_mels,
            self._encoder.frames // 2,
            self._config.max_source_positions,
        )
        log_mel = [features(samples, bins, positions, trained) for samples in windows]
        return self._encoder.encode(np.ascontiguousarray(log_mel))

    def _step(self) -> None:
        assert self._cache is not None
        ids = np.array([[job.decoding.last] for job in self._running], np.int64)
        logits, self._cache = self._decoder.step(ids, self._cache)
        self._choose(logits)

    def _choose(self, logits: NDArray[np.float32]) -> None:
        self._used += len(self._running)
        self._available += self._info.batch
        if self._decoder.listened is not None:
            for job, row in zip(self._running, self._decoder.listened, strict=True):
                job.listened.append(row)
        self._rules.step([job.decoding for job in self._running], logits)

    def _drop_ended(self) -> None:
        alive = [i for i, job in enumerate(self._running) if not job.decoding.done]
        self._running = [self._running[i] for i in alive]
        self._cache = keep_rows(self._cache, alive) if self._cache is not None and alive else None

    def _result(self, job: _Job) -> WindowResult:
        state = job.decoding
        return window_result(
            job.request,
            state,
            self._config,
            self._tokenizer,
            error="the decoder gave NaN" if state.broken else None,
            words=self._words(job) if state.options.word_timestamps and not state.broken else None,
            listened=job.listened,
            batch=job.batch,
            flags=("fallback_provider",) if self._fallback else (),
        )

    def _words(self, job: _Job) -> tuple[TimedWord, ...] | None:
        """Word times from a second pass over the finished text; None if the graph returns no attentions."""
        state, samples = job.decoding, job.request.samples
        ids = np.array([[*state.prompt, *state.tokens]], np.int64)
        weights = self._decoder.attention(ids, self._encode([samples]), alignment_heads(self._config))
        if weights is None:
            return None
        return word_times(
            state.tokens,
            [math.exp(value) for value in state.logprobs],
            weights[:, len(state.prompt) - 1 :],
            self._tokenizer,
            seconds=len(samples) / SAMPLE_RATE,
            filter_width=self._config.median_filter_width,
        )

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """Probability of each language after start-of-transcript (empty for an English-only model)."""
        if not self._config.multilingual or not windows:
            return [{} for _ in windows]
        out = []
        for samples in windows:
            hidden = self._encode([samples])
            rows, _ = self._decoder.prefill(np.array([[self._config.sot]], np.int64), hidden)
            out.append(dict(language_chances(rows[0, -1], self._config, among)))
        return out

    def confirm(self) -> bool:
        """Always True on a CPU."""
        return True

    def occupancy(self) -> tuple[int, int]:
        """Slot-steps used and available."""
        return self._used, self._available

    def close(self) -> None:
        """Forget queued windows and caches."""
        self._queue.clear()
        self._running = []
        self._cache = None
