"""The decoder engine: windows decode together in slots, and a slot that is done takes the next at once.

Running windows always fill the first slots. One step feeds every one of them one token, be it of its prompt
or its own last one, so windows of any age, prompt and option share the batch; the graph computes each row
by itself, so a window's tokens do not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.session import open_session
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine_buffers import Array, Buffers, Stepper
from asr_batch.models.whisper.engine_encoder import CrossProjector
from asr_batch.models.whisper.engine_session import Cores, graph_options
from asr_batch.models.whisper.rules import Decoding, TokenRules

Float32 = NDArray[np.float32]
_CAPACITY = 48  # tokens per slot at first; most windows of speech stay below
_PIECE = 6  # rows below which a part of a step costs as much as the whole
_AT_ONCE = 8  # prompt tokens before start-of-transcript above which they are fed in one call


@dataclass(slots=True)
class Slot:
    """A running window: `fed` tokens of prompt and text are in the cache already.

    `listened`: for each token chosen so far, where in the window the decoder listened for it, [groups].
    """

    key: Hashable
    decoding: Decoding
    sot: int
    fed: int = 0
    listened: list[Float32] = field(default_factory=list, repr=False)
    extra: Any = field(default=None, repr=False)

    @property
    def next_token(self) -> int:
        """The token to feed next."""
        prompt = self.decoding.prompt
        return prompt[self.fed] if self.fed < len(prompt) else self.decoding.tokens[self.fed - len(prompt)]


class DecoderEngine:
    """Slots over one decoder graph, on up to as many threads as there are `cores`.

    Every graph runs on one thread: many small operators cost more on two. What runs side by side are
    the pieces of a step while cores are free.
    """

    def __init__(
        self, folder: Path, config: WhisperConfig, rules: TokenRules, slots: int, cores: Cores, provider: str
    ) -> None:
        opened = open_session(folder / "decoder.onnx", provider=provider, options=graph_options(1))
        self.session, self.fallback = opened.session, opened.fallback
        self.projector = CrossProjector(folder, provider)
        self._pool = ThreadPoolExecutor(cores.count, thread_name_prefix="decoder")
        self._cores = cores
        self._rules, self._config = rules, config
        self.buffers = Buffers(self.session, slots, min(_CAPACITY, config.max_target_positions))
        self._stepper = Stepper(self.session, self.buffers, config.vocab_size)
        self.running: list[Slot] = []
        self.used = self.available = 0

    @property
    def free(self) -> int:
        """Slots without a window."""
        return self.buffers.slots - len(self.running)

    def install(self, slot: Slot, hidden: Float32) -> None:
        """Give `slot` a free place, with cross-attention over `hidden` [positions, d_model]."""
        place = len(self.running)
        self.projector.project(hidden, self.buffers.cross, place)
        self.running.append(slot)
        if slot.sot > _AT_ONCE:
            self._stepper.prefill(place, slot.decoding.prompt[: slot.sot])
            slot.fed = slot.sot

    def step(self) -> list[Slot]:
        """Feed every running window one token, in pieces on the cores that nobody else uses; the windows that
        ended, still in their places.
        """
        running = self.running
        ids, fed = [s.next_token for s in running], [s.fed for s in running]
        with self._cores.spare(len(running) // _PIECE - 1) as spare:
            logprobs = self._stepper.step(ids, fed, self._pool, 1 + spare)
        self.used += len(running)
        self.available += self.buffers.slots
        listened = (
            None if self._stepper.attended is None else self._stepper.attended[: len(running), 0].copy()
        )
        choosing = []
        for i, slot in enumerate(running):
            if slot.fed == slot.sot:
                slot.decoding.no_speech_prob = self._rules.no_speech_prob(logprobs[i])
            slot.fed += 1
            if slot.fed >= len(slot.decoding.prompt):
                choosing.append(i)
                if listened is not None:
                    slot.listened.append(listened[i])
        if choosing:
            rows = logprobs if len(choosing) == len(running) else logprobs[choosing]
            self._rules.step([running[i].decoding for i in choosing], rows)
        return [slot for slot in running if slot.decoding.done]

    def release(self, slot: Slot) -> None:
        """Free the place of `slot`; the last running window moves into it."""
        place = self.running.index(slot)
        last = len(self.running) - 1
        if place != last:
            self.buffers.move(last, place, self.running[last].fed)
            self.running[place] = self.running[last]
        self.running.pop()

    def cross_of(self, slot: Slot) -> dict[str, Array]:
        """The cross-attention buffers of a running window, [1, ...] each."""
        place = self.running.index(slot)
        return {name: array[place : place + 1] for name, array in self.buffers.cross.items()}

    def close(self) -> None:
        """Let the threads go."""
        self.running.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def first_logprobs(self, hidden: Float32) -> Float32:
        """Log-probabilities [vocab] behind start-of-transcript alone, over one window, beside the slots."""
        scratch = Stepper(self.session, Buffers(self.session, 1, 8), self._config.vocab_size)
        self.projector.project(hidden, scratch.buffers.cross, 0)
        logprobs: Float32 = scratch.step([self._config.sot], [0])[0]
        return logprobs
