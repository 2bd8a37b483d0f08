"""Decodes all running windows in one pass over the weights, appending to their caches in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.graphs import Prefill
from asr_batch.models.qwen3.steppers import Embedding

Float32 = NDArray[np.float32]

ROOM_STEP = 256
"""Caches grow by this many positions at a time."""


class BatchedStepper:
    """Our own step graph (`rewrite.batched_step`) over the folder's weights.

    A step runs the slots up to the last one in use, so a few windows cost little. A window's results do not
    depend on its slot or on how many others run (measured bit for bit, docs/models.md).
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        embedding: Embedding,
        config: QwenConfig,
        slots: int,
        frequencies: Float32,
    ) -> None:
        self._frequencies = frequencies
        self._session = session
        self._embedding = embedding
        self._config = config
        self._slots = slots
        self._lengths = np.zeros(slots, np.int32)  # positions in the cache; 0: the slot is free
        self._longest = np.ones(1, np.int32)
        self._embeds = np.zeros((slots, 1, config.hidden), np.float32)
        self._logits = np.zeros((slots, 1, config.vocab), np.float32)
        self._caches: list[Float32] = []
        self._angles: tuple[Float32, Float32] = rotary(0, frequencies)
        self._bindings: dict[int, Any] = {}

    def admit(self, slot: int, prefill: Prefill, tokens: int) -> None:
        """See Stepper: copies the prompt's keys and values into the slot, once."""
        need = prefill.length + tokens
        if need > len(self._angles[0]):
            self._grow(-(-need // ROOM_STEP) * ROOM_STEP)
        for place, stacked in enumerate((prefill.keys, prefill.values)):
            for layer, part in enumerate(stacked.numpy()):
                self._caches[2 * layer + place][slot, :, : prefill.length] = part[0]
        self._lengths[slot] = prefill.length

    def step(self, tokens: Mapping[int, int]) -> dict[int, Float32]:
        """See Stepper."""
        for slot, token in tokens.items():
            self._embeds[slot, 0] = self._embedding[token]
        rows = max(tokens) + 1
        self._longest[0] = self._lengths[:rows].max() + 1
        self._session.run_with_iobinding(self._bindings.get(rows) or self._bind(rows))
        for slot in tokens:
            self._lengths[slot] += 1
        return {slot: self._logits[slot, 0] for slot in tokens}

    def release(self, slot: int) -> None:
        """See Stepper."""
        self._lengths[slot] = 0

    def close(self) -> None:
        """See Stepper."""
        self._bindings.clear()
        self._caches = []

    def _grow(self, room: int) -> None:
        """Make caches for `room` positions; memory is committed only where it is written."""
        c = self._config
        old, shape = self._caches, (self._slots, c.kv_heads, room, c.head_dim)
        self._caches = [np.zeros(shape, np.float32) for _ in range(2 * c.layers)]
        for new, before in zip(self._caches, old, strict=False):
            for slot in np.flatnonzero(self._lengths):
                used = self._lengths[slot]
                new[slot, :, :used] = before[slot, :, :used]
        self._angles = rotary(room, self._frequencies)
        self._bindings.clear()

    def _bind(self, rows: int) -> Any:
        """Inputs and outputs for the first `rows` slots; the values share the arrays' memory."""
        binding = self._session.io_binding()
        cos, sin = self._angles
        inputs = {"input_embeds": self._embeds[:rows], "lengths": self._lengths[:rows]}
        for name, array in {**inputs, "longest": self._longest, "cos": cos, "sin": sin}.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(self._logits[:rows]))
        for place, array in enumerate(self._caches):
            name = f"{'key' if place % 2 == 0 else 'value'}_{place // 2}"
            value = ort.OrtValue.ortvalue_from_numpy(array[:rows])
            binding.bind_ortvalue_input(f"past_{name}", value)
            binding.bind_ortvalue_output(f"present_{name}", value)
        self._bindings[rows] = binding
        return binding


def rotary(room: int, frequencies: Float32) -> tuple[Float32, Float32]:
    """Cosines and sines [room, head_dim / 2] of the rotary position embedding, float32 throughout."""
    angle = np.arange(room, dtype=np.float32)[:, None] * frequencies
    return np.cos(angle), np.sin(angle)
