"""The family's recognizer; encoder and decoder work at the same time.

A background thread computes log-mel, audio features and prefill of the next windows, while the caller's
thread, in `poll`, steps all running windows together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ItemError
from asr_batch.models.features import log_mel
from asr_batch.models.onnx.sessions import runtime_errors
from asr_batch.models.qwen3.answer import TAG, Answer, loops, parse
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.decoding import Decoding, NotFiniteError, token_cap
from asr_batch.models.qwen3.graphs import Graphs, Prefill
from asr_batch.models.qwen3.languages import NAMES, language_code
from asr_batch.models.qwen3.prompt import Prompt, PromptWriter
from asr_batch.models.qwen3.steppers import Stepper
from asr_batch.models.recognizer import SAMPLE_RATE, ModelInfo, Samples, WindowRequest, WindowResult

LEAST_SAMPLES = SAMPLE_RATE // 2
"""Shorter windows are padded with silence to this length, as in transformers' feature extractor."""

AHEAD = 2
"""Windows prepared in advance, so that a free slot is filled at once."""


@dataclass(slots=True)
class _Running:
    request: WindowRequest
    decoding: Decoding
    next: int


class QwenRecognizer:
    """See `Recognizer`."""

    def __init__(
        self, info: ModelInfo, config: QwenConfig, graphs: Graphs, stepper: Stepper, writer: PromptWriter
    ) -> None:
        self._info = info
        self._config = config
        self._graphs = graphs
        self._stepper = stepper
        self._writer = writer
        self._front = ThreadPoolExecutor(1, "qwen-encode")
        self._coming: deque[tuple[WindowRequest, Future[Prefill | None]]] = deque()
        self._running: dict[int, _Running] = {}
        self._finished: list[WindowResult] = []
        self._used = 0
        self._available = 0

    @property
    def info(self) -> ModelInfo:
        """See Recognizer."""
        return self._info

    def room(self) -> int:
        """See Recognizer."""
        return max(0, self._info.batch + AHEAD - self.pending())

    def submit(self, request: WindowRequest) -> None:
        """See Recognizer."""
        _check_options(request)
        self._coming.append((request, self._front.submit(self._prepare, request)))

    def pending(self) -> int:
        """See Recognizer."""
        return len(self._coming) + len(self._running) + len(self._finished)

    def poll(self) -> list[WindowResult]:
        """See Recognizer."""
        while not self._finished and self.pending():
            self._fill()
            if self._running:
                self._step()
        finished, self._finished = self._finished, []
        return finished

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """See Recognizer; taken from the decoder's next token after the word `language`."""
        return [self._language_of(samples) for samples in windows]

    def confirm(self) -> bool:
        """See Recognizer: always True, this family runs on the CPU."""
        return True

    def occupancy(self) -> tuple[int, int]:
        """See Recognizer."""
        return self._used, self._available

    def close(self) -> None:
        """See Recognizer."""
        self._front.shutdown(cancel_futures=True)
        self._stepper.close()

    # -- preparing windows (background thread)

    def _features(self, samples: Samples) -> NDArray[np.float32]:
        if len(samples) < LEAST_SAMPLES:
            samples = np.pad(samples, (0, LEAST_SAMPLES - len(samples)))
        return self._graphs.encode(log_mel(samples, self._config.n_mels, None))

    def _prepare(self, request: WindowRequest) -> Prefill | None:
        """Compute features and prefill; None for a window without samples."""
        if not len(request.samples):
            return None
        features = self._features(request.samples)
        options = request.options
        language = language_code(options.language) if options.language else None
        context = " ".join(filter(None, (", ".join(options.glossary), options.prompt)))
        prompt = self._writer.write(features.shape[1], context, language)
        return self._graphs.prefill(prompt, features)

    def _language_of(self, samples: Samples) -> dict[str, float]:
        features = self._features(samples)
        prompt = self._writer.write(features.shape[1])
        start = self._writer.start_ids()
        asked = Prompt((*prompt.ids, *start), prompt.audio_offset, prompt.audio_count)
        logits = self._graphs.prefill(asked, features).logits.astype(np.float64)
        share = np.exp(logits - logits.max())
        share /= share.sum()
        first = {code: self._writer.language_ids(code)[len(start)] for code in NAMES}
        twins = list(first.values())
        return {code: float(share[token]) / twins.count(token) for code, token in first.items()}

    # -- decoding (the caller's thread)

    def _fill(self) -> None:
        """Fill free slots, waiting for windows that are being prepared.

        A step costs nearly the same for one window as for eight, and steps with empty slots would take time
        from the threads that prepare windows (measured: waiting saves a third of processor time in FP32).
        """
        while self._coming and len(self._running) < self._info.batch:
            self._admit(*self._coming.popleft())

    def _admit(self, request: WindowRequest, future: Future[Prefill | None]) -> None:
        decoding = self._decoding(request)
        try:
            prefill = future.result()
            token = None if prefill is None else decoding.take(prefill.logits)
        except Exception as error:  # noqa: BLE001  one window fails alone, whatever the runtime raised
            self._finish(request, decoding, f"{type(error).__name__}: {error}")
            return
        if prefill is None or token is None:
            self._finish(request, decoding)
            return
        slot = min(set(range(self._info.batch)) - self._running.keys())
        self._stepper.admit(slot, prefill, decoding.cap)
        self._running[slot] = _Running(request, decoding, token)

    def _decoding(self, request: WindowRequest) -> Decoding:
        cap = token_cap(len(request.samples) / SAMPLE_RATE, request.options)
        return Decoding(request.options, cap, frozenset(self._config.eos), self._writer.asr_text)

    def _step(self) -> None:
        with runtime_errors("decoder step"):
            rows = self._stepper.step({slot: one.next for slot, one in self._running.items()})
        self._used += len(rows)
        self._available += self._info.batch
        for slot, logits in rows.items():
            self._advance(slot, logits)

    def _advance(self, slot: int, logits: NDArray[np.float32]) -> None:
        one = self._running[slot]
        error = None
        try:
            token = one.decoding.take(logits)
        except NotFiniteError as wrong:
            token, error = None, str(wrong)
        if token is not None:
            one.next = token
            return
        del self._running[slot]
        self._stepper.release(slot)
        self._finish(one.request, one.decoding, error)

    def _finish(self, request: WindowRequest, decoding: Decoding, error: str | None = None) -> None:
        hint = language_code(request.options.language) if request.options.language else None
        answer = parse("", hint) if error else self._answer(decoding.tokens, hint)
        self._finished.append(
            WindowResult(
                key=request.key,
                text=answer.text,
                tokens=tuple(decoding.tokens),
                avg_logprob=decoding.avg_logprob,
                no_speech_prob=float("nan"),
                truncated=decoding.truncated,
                language=answer.language,
                encoder_backend=self._info.encoder_backend,
                batch=self._info.batch,
                flags=("repetition",) if loops(answer.text) else (),
                error=error,
            )
        )

    def _answer(self, tokens: list[int], hint: str | None) -> Answer:
        """Split the answer at the id of the text tag, however the tokenizer would print it."""
        tag = self._writer.asr_text
        if hint is not None or tag not in tokens:
            return parse(self._writer.decode(tokens), hint)
        at = tokens.index(tag)
        head, text = self._writer.decode(tokens[:at]), self._writer.decode(tokens[at + 1 :])
        return parse(f"{head}{TAG}{text}", None)


def _check_options(request: WindowRequest) -> None:
    """Raise ItemError for options that this family cannot honour."""
    options: Any = request.options
    if options.language and language_code(options.language) is None:
        raise ItemError(
            "bad_language",
            f"language {options.language!r} is unknown to the model; it knows {', '.join(sorted(NAMES))}",
        )
    if options.task not in (None, "transcribe"):
        raise ItemError("unsupported_option", f"task {options.task!r}: this model can only transcribe")
    if options.beam_size > 1:
        raise ItemError("unsupported_option", f"beam size {options.beam_size}: this model decodes greedily")
