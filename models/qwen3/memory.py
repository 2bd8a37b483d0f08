"""Estimates a model's peak memory before anything large is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from asr_batch.manifests.errors import ModelError
from asr_batch.models.memory import free_memory
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.files import ModelFiles
from asr_batch.models.qwen3.graphs import audio_positions

PROMPT = 64
"""Positions of the prompt besides the audio, with a short context."""

SPEECH_TOKENS = 8
"""Upper bound of tokens per second of speech (most text is below 5)."""

PREPARED = 2
"""Windows waiting between prefill and a free slot."""

GIB = float(1 << 30)


@dataclass(frozen=True, slots=True)
class Plan:
    """What fits in memory: `slots` windows at a time, with the step's weights packed (copied) or not.

    `peak` is the estimate in bytes, including the mapped weights.
    """

    slots: int
    packed: bool
    peak: int


def plan(
    files: ModelFiles, config: QwenConfig, weights: int, slots: int, seconds: float, free: int | None = None
) -> Plan:
    """The best plan of at most `slots` windows of `seconds` that fits into `free` bytes (None: measure).

    `weights` is the size of the decoder's data files in bytes. Packing the step's FP32 weights doubles the
    speed of a step and costs a copy of them; fewer slots cost throughput. Raises ModelError if nothing fits.
    """
    free = free_memory() if free is None else free
    counts = sorted({slots, *(one for one in (4, 2, 1) if one < slots)}, reverse=True)
    ways = (True,) if ".int" in files.decoder_step.name else (True, False)  # unpacked int4 is unusably slow
    plans = [
        Plan(count, packed, _peak(files, config, weights, count, seconds, packed))
        for packed in ways
        for count in counts
    ]
    for one in plans:
        if one.peak <= free:
            return one
    least = min(plans, key=lambda one: one.peak)
    raise ModelError(
        f"{files.folder}: needs about {least.peak / GIB:.1f} GiB of memory ({files.precision}, windows of "
        f"{seconds:g} s, one at a time), but {free / GIB:.1f} GiB are free; use int4 (--precision int4), a "
        "shorter --window or fewer --workers"
    )


def _peak(files: ModelFiles, c: QwenConfig, weights: int, slots: int, seconds: float, packed: bool) -> int:
    frames = int(seconds * 100)
    positions = audio_positions(frames) + PROMPT
    encoder = 2 * files.encoder.stat().st_size  # parsed and packed
    convolution = 2 * 4 * (frames // 2) * (c.n_mels // 2) * c.conv_channels
    attention = 3 * 4 * c.heads * positions * positions
    logits = 4 * c.vocab * (slots + 1)
    caches = c.kv_bytes * (positions * (2 * PREPARED + slots) + int(SPEECH_TOKENS * seconds) * slots)
    copies = weights if packed else 0
    return encoder + weights + copies + convolution + attention + logits + caches
