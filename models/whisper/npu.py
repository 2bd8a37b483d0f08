"""`--decoder npu`: a `Recognizer` for Whisper with its fixed-length decoder on the NPU.

It decodes greedily, one window at a time, while the encoder works ahead. It exists to be measured against the
cached decoder on the CPU, which is an order of magnitude faster (docs/hailo.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from asr_batch.manifests.errors import ItemError
from asr_batch.models.encoder import Encoder, Float32, Monitored
from asr_batch.models.hailo.decoder import NpuDecoder
from asr_batch.models.onnx.options import Cores
from asr_batch.models.recognizer import (
    LoadOptions,
    ModelInfo,
    Recognizer,
    Samples,
    WindowRequest,
    WindowResult,
)
from asr_batch.models.whisper.bundle import Bundle
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.encoder import CpuEncoder
from asr_batch.models.whisper.engine.feed import EncoderFeed, Ready
from asr_batch.models.whisper.opening import choose_encoder, describe, window_of
from asr_batch.models.whisper.outcome import window_result
from asr_batch.models.whisper.rules import Decoding, TokenRules
from asr_batch.models.whisper.tokenizer import WhisperTokenizer, prompt_ids, sot_index


def load_npu(bundle: Bundle, config: WhisperConfig, options: LoadOptions) -> Recognizer:
    """Open a bundle with its decoder on the NPU. Raises ModelError."""
    from asr_batch.models.hailo.api import open_decoder  # all of the NPU's modules

    cpu = partial(CpuEncoder, bundle.folder, Cores(options.threads or os.cpu_count() or 1), options.provider)
    encoder = choose_encoder(bundle, options, cpu)
    try:
        positions = round(window_of(bundle, config, options) * 50)
        positions = positions if encoder.frames is None else encoder.frames // 2
        decoder = open_decoder(bundle.folder, positions, options)
    except BaseException:
        encoder.close()
        raise
    info = describe(bundle, config, encoder, options, 1)
    tokenizer = WhisperTokenizer(bundle.folder, config)
    return NpuWhisper(info, config, tokenizer, encoder, decoder, positions)


@dataclass(slots=True)
class _Job:
    request: WindowRequest
    decoding: Decoding


class NpuWhisper:
    """A Whisper with its decoder on the NPU; the encoder runs where `options.encoder` says."""

    def __init__(
        self,
        info: ModelInfo,
        config: WhisperConfig,
        tokenizer: WhisperTokenizer,
        encoder: Encoder,
        decoder: NpuDecoder,
        positions: int,
    ) -> None:
        """Combine the parts; `info` describes the bundle, the decoder takes `positions`."""
        can = info.capabilities - {"beam", "word_timestamps", "language_detection"}
        self._info = replace(info, capabilities=can, batch=1, longest=0.0)
        self._config, self._tokenizer = config, tokenizer
        self._rules = TokenRules(config)
        self._encoder, self._decoder = encoder, decoder
        self._feed: EncoderFeed[_Job, Float32] = EncoderFeed(
            encoder, config.max_source_positions, lambda hidden: hidden, positions
        )
        self._count = 0

    @property
    def info(self) -> ModelInfo:
        """What this model is and can do."""
        return replace(self._info, encoder_backend=self._encoder.backend)

    def stats(self) -> Mapping[str, float]:
        """Counters and readings of the NPU."""
        return self._encoder.stats() if isinstance(self._encoder, Monitored) else {}

    def room(self) -> int:
        """Enough to keep the encoder ahead."""
        return max(0, self._encoder.depth + 1 - len(self._feed))

    def pending(self) -> int:
        """Windows submitted and not returned."""
        return len(self._feed)

    def submit(self, request: WindowRequest) -> None:
        """Queue a window. Raises ItemError for what a fixed-length decoder cannot do."""
        if request.options.beam_size > 1 or request.options.word_timestamps:
            raise ItemError("unsupported_option", "the NPU's decoder has neither beam search nor word times")
        prompt = prompt_ids(self._config, self._tokenizer, request.options)
        room = self._decoder.tokens - len(prompt)
        if room < 1:
            raise ItemError(
                "unsupported_option",
                f"the prompt has {len(prompt)} tokens, but the NPU's decoder takes {self._decoder.tokens} "
                "in all",
            )
        decoding = self._rules.start(request.options, prompt)
        decoding.limit = min(decoding.limit, room)
        self._feed.put(_Job(request, decoding), request.samples, cpu=request.options.cpu_encoder)

    def poll(self) -> list[WindowResult]:
        """Decode one window."""
        ready = self._feed.take()
        return [] if ready is None else [self._decode(ready)]

    def _decode(self, ready: Ready[_Job, Float32]) -> WindowResult:
        state = ready.item.decoding
        self._count += 1
        sot = sot_index(self._config, state.prompt)
        while ready.heard is not None and not state.done:
            ids = [*state.prompt, *state.tokens]
            logits = self._decoder.logits(ready.heard, ids)
            if not state.tokens:
                self._rules.begin(state, logits[sot])
            self._rules.step([state], logits[len(ids) - 1 : len(ids)].copy())
        error = ready.error or ("the decoder gave NaN" if state.broken else None)
        return self._result(ready, error)

    def _result(self, ready: Ready[_Job, Float32], error: str | None) -> WindowResult:
        return window_result(
            ready.item.request,
            ready.item.decoding,
            self._config,
            self._tokenizer,
            error=error,
            backend=ready.backend,
            batch=self._count,
            flags=ready.flags,
        )

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """Not supported on the NPU."""
        return [{} for _ in windows]

    def confirm(self) -> bool:
        """See the encoder."""
        return self._encoder.confirm()

    def occupancy(self) -> tuple[int, int]:
        """One slot, always full."""
        return self._count, self._count

    def close(self) -> None:
        """Release the device, decoder first."""
        self._feed.clear()
        self._decoder.close()
        self._encoder.close()
