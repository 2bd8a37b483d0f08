"""Decodes one window's hidden states greedily, outside the slots, for the NPU's parity probe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import DecodeOptions
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.slots import DecoderEngine, Slot
from asr_batch.models.whisper.rules import TokenRules
from asr_batch.models.whisper.tokenizer import WhisperTokenizer, prompt_ids, sot_index

_LONGEST = 48
"""Tokens that are enough to compare the text of a probe."""


def read_text(
    engine: DecoderEngine,
    rules: TokenRules,
    config: WhisperConfig,
    tokenizer: WhisperTokenizer,
    hidden: NDArray[np.float32],
) -> str:
    """Text of hidden states [positions, d_model], at most 48 tokens."""
    language = ("en" if "en" in config.languages else min(config.languages)) if config.multilingual else None
    options = DecodeOptions(language=language, max_new_tokens=_LONGEST)
    prompt = prompt_ids(config, tokenizer, options)
    slot = Slot("probe", rules.start(options, prompt), sot_index(config, prompt))
    capacity = min(len(prompt) + _LONGEST, config.max_target_positions)
    scratch = engine.reading(1, capacity)
    scratch.buffers.put(0, engine.projector.project(hidden))
    while not slot.decoding.done:
        scores = scratch.step([slot.token(slot.fed)], [slot.fed])
        slot.fed += 1
        if slot.fed >= len(prompt):
            rules.step([slot.decoding], scores.rows())
    return tokenizer.decode(slot.decoding.tokens).strip()
