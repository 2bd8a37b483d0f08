"""The decoder engine: windows decode together in slots, and a finished slot takes the next window at once.

Running windows always fill the first slots. Each step feeds one token to every window, either of its
prompt or its last one, so windows of any age, prompt and option share the batch. Every row is computed
independently, so a window's tokens do not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx.options import Cores
from asr_batch.models.whisper.alignment import GROUP
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.branches import Branch
from asr_batch.models.whisper.engine.choose import FastRules
from asr_batch.models.whisper.engine.decoder import Decoder, Heard, open_decoder
from asr_batch.models.whisper.engine.vocabulary import Scores, Vocabulary, VocabularyGraphs
from asr_batch.models.whisper.rules import RIVALS, Decoding

Float32 = NDArray[np.float32]
_CAPACITY = 48  # tokens per slot at first: prompt and text of 10 s; caches grow with longer texts
_PIECE = {"graphs": 6, "kernels": 2}  # rows below which a part of a step costs as much as the whole
_EXPECTED = 11
"""Most tokens of a draft that are fed beside the last one of a text: two tiles of the kernels."""
AT_ONCE = 8
"""Prompt tokens before start-of-transcript above which they are fed in one call."""


@dataclass(slots=True, eq=False)
class Slot:
    """A running window: `fed` tokens of prompt and text are in the cache.

    Its cross-attention covers `stored` positions, of which the first `groups` groups are its own.
    `listened`: for each token chosen so far, the attention over the window, [groups]. `branch`: the one that
    is decoded after the first text.
    """

    key: Hashable
    decoding: Decoding
    sot: int
    fed: int = 0
    stored: int = 0
    groups: int = 0
    listened: list[Float32] = field(default_factory=list, repr=False)
    extra: Any = field(default=None, repr=False)
    branch: Branch | None = field(default=None, repr=False)

    def token(self, at: int) -> int:
        """Token `at` of the prompt and the text."""
        prompt = self.decoding.prompt
        return prompt[at] if at < len(prompt) else self.decoding.tokens[at - len(prompt)]

    def chooses(self, at: int) -> bool:
        """Whether the step that feeds token `at` chooses a new one."""
        return at + 1 >= len(self.decoding.prompt)


@dataclass(frozen=True, slots=True)
class _Fed:
    """What a step feeds to the window at a `place`: its token `at`, which is `id`, or is expected to be."""

    place: int
    slot: Slot
    at: int
    id: int

    @property
    def is_expected(self) -> bool:
        """Whether the token has not been chosen."""
        decoding = self.slot.decoding
        return self.at >= len(decoding.prompt) + len(decoding.tokens)

    @property
    def is_chosen(self) -> bool:
        """Whether it is the last token that was chosen, so that the next one can be."""
        decoding = self.slot.decoding
        last = self.at + 1 == len(decoding.prompt) + len(decoding.tokens)
        return last and not decoding.done and decoding.last == self.id


class Reader:
    """Slots over a decoder and its vocabulary; `beside` as for :class:`Vocabulary`."""

    def __init__(
        self,
        decoder: Decoder,
        graphs: VocabularyGraphs,
        slots: int,
        capacity: int,
        beside: Reader | None = None,
    ) -> None:
        self._vocabulary: Vocabulary = Vocabulary(graphs, slots, beside._vocabulary if beside else None)
        self.stepper = decoder.steps(slots, capacity, self._vocabulary.states)
        self.buffers = self.stepper.buffers

    def step(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        wanted: Sequence[int] | None = None,
        pool: Executor | None = None,
        pieces: int = 1,
        *,
        ruled: int = 0,
        most: int = 1,
        places: Sequence[int] | None = None,
    ) -> Scores:
        """Feed a token to each of the first slots, or of `places`; returns scores for the tokens `wanted`
        (None: all).

        For the first `ruled` of these, the `most` likely tokens that are not suppressed are found. Runs in
        `pieces` in parallel, all but the first on the threads of `pool`. Overwritten by the next step.
        """
        self.stepper.step(ids, positions, pool, pieces, places)
        states = self._vocabulary.states
        if wanted is not None and list(wanted) != list(range(len(ids))):
            states[: len(wanted)] = states[list(wanted)]
        count = len(ids) if wanted is None else len(wanted)
        return self._vocabulary.scores(count, pool if pieces > 1 else None, ruled=ruled, most=most)


class DecoderEngine:
    """Slots over one decoder, on as many threads as there are `cores`.

    A graph or kernel runs on one thread, because many small operators cost more on two. The pieces of a
    step run in parallel while cores are free.
    """

    def __init__(
        self, folder: Path, config: WhisperConfig, rules: FastRules, slots: int, cores: Cores, provider: str
    ) -> None:
        self._graphs = VocabularyGraphs(folder, provider, config.suppress)
        self.decoder = open_decoder(folder, config, self._graphs, provider)
        self.projector, self.fallback = self.decoder.projector, self.decoder.fallback
        self._pool = ThreadPoolExecutor(cores.count, thread_name_prefix="decoder")
        self._cores = cores
        self._piece = _PIECE[self.decoder.arithmetic]
        self._rules, self._config = rules, config
        self._slots = slots
        self.reader = self.reading(slots + self.decoder.beside, min(_CAPACITY, config.max_target_positions))
        self.buffers = self.reader.buffers
        self.running: list[Slot] = []
        self.used = self.available = 0

    @property
    def windows(self) -> int:
        """Windows that are running, each in one slot; further rows decode their branches."""
        return len({slot.key for slot in self.running})

    @property
    def rows(self) -> int:
        """Rows that nothing runs in."""
        return self.buffers.slots - len(self.running)

    @property
    def free(self) -> int:
        """Slots without a window."""
        return min(self._slots - self.windows, self.rows)

    def install(self, slot: Slot, cross: Heard) -> None:
        """Put `slot` into a free place with the cross-attention inputs `cross`."""
        place = len(self.running)
        slot.stored, slot.groups = cross.stored, -(-cross.positions // GROUP)
        self.running.append(slot)
        self.buffers.fit(max(one.stored for one in self.running))
        self.buffers.put(place, cross)
        if slot.sot > AT_ONCE:
            self.reader.stepper.prefill(place, slot.decoding.prompt[: slot.sot])
            slot.fed = slot.sot

    def step(self) -> None:
        """Feed one token to every running window, or all of a prompt, in pieces on idle cores.

        Where a window's next tokens are expected, they are fed as well, and each counts if it is chosen.
        """
        fed = self._next()
        begins = [row for row, one in enumerate(fed) if one.at == one.slot.sot]
        chooses = [row for row, one in enumerate(fed) if one.at != one.slot.sot and one.slot.chooses(one.at)]
        expected = [row for row in chooses if fed[row].is_expected]
        chooses = [row for row in chooses if row not in expected]
        wanted = chooses + expected
        scores = self._feed(fed, wanted + begins, len(wanted))
        listened = self.reader.stepper.attended[:, 0]
        for row, i in enumerate(begins, len(wanted)):
            self._begin(fed[i].slot, scores.rows([row]), listened[i])
        self._choose([(fed[i], listened[i]) for i in chooses], scores.between(0, len(chooses)))
        for i, one in enumerate(fed):
            if i not in expected:
                one.slot.fed = one.at + 1
        for row, i in enumerate(expected, len(chooses)):
            if fed[i].is_chosen:
                self._choose([(fed[i], listened[i])], scores.between(row, row + 1))
                fed[i].slot.fed = fed[i].at + 1
        self.used += self.windows
        self.available += self._slots

    def _choose(self, told: Sequence[tuple[_Fed, Float32]], scores: Scores) -> None:
        """Choose the next token of windows, each with its attention."""
        for one, listened in told:
            one.slot.listened.append(listened[: one.slot.groups].copy())
        if told:
            self._rules.choose([one.slot.decoding for one, _ in told], scores)

    def _next(self) -> list[_Fed]:
        """The next token of each window; of its prompt, and of what is expected, as many as there are rows
        left for.
        """
        spare, fed = self.rows if self.decoder.beside else 0, list[_Fed]()
        for place, slot in enumerate(self.running):
            more = self._more(slot, spare)
            spare -= len(more)
            ids = enumerate((slot.token(slot.fed), *more), slot.fed)
            fed += [_Fed(place, slot, at, token) for at, token in ids]
        return fed

    def _more(self, slot: Slot, spare: int) -> Sequence[int]:
        """Tokens to feed after the next one, at most `spare`."""
        known = self._known(slot) - 1 - slot.fed
        if known > 0:
            return [slot.token(slot.fed + 1 + i) for i in range(min(spare, known))]
        return () if slot.branch is not None else slot.decoding.expected(min(spare, _EXPECTED))

    def _known(self, slot: Slot) -> int:
        """Tokens of the prompt that are known: start-of-transcript tells a language that is not given."""
        tells = self._config.multilingual and slot.decoding.options.language is None
        return slot.sot + 1 if tells else len(slot.decoding.prompt)

    def _feed(self, fed: Sequence[_Fed], wanted: Sequence[int], ruled: int) -> Scores:
        ids, positions = [one.id for one in fed], [one.at for one in fed]
        places = [one.place for one in fed] if len(fed) > len(self.running) else None
        most = 1 + RIVALS * any(slot.decoding.searched for slot in self.running)
        with self._cores.spare(len(fed) // self._piece - 1) as spare:
            return self.reader.step(
                ids, positions, wanted, self._pool, 1 + spare, ruled=ruled, most=most, places=places
            )

    def _begin(self, slot: Slot, logits: Float32, listened: Float32) -> None:
        """Keep what start-of-transcript tells; choose a token if the prompt ends there."""
        self._rules.begin(slot.decoding, logits[0])
        if slot.chooses(slot.sot):
            slot.listened.append(listened[: slot.groups].copy())
            self._rules.step([slot.decoding], logits)

    def step_beside(
        self,
        reader: Reader,
        ids: Sequence[int],
        positions: Sequence[int],
        wanted: Sequence[int],
        ruled: int,
        most: int,
    ) -> Scores:
        """A step of another `reader`, in parts on idle cores; see :meth:`Reader.step`."""
        with self._cores.spare(len(ids) // self._piece - 1) as spare:
            pieces = 1 + spare
            return reader.step(ids, positions, wanted, self._pool, pieces, ruled=ruled, most=most)

    def follow(self, slot: Slot, branch: Branch) -> None:
        """Decode `branch` in `slot`, whose caches have the tokens before it."""
        slot.branch, slot.decoding, slot.listened = branch, branch.decoding, branch.listened
        slot.fed = len(branch.decoding.prompt) + branch.at

    def beside(self, slot: Slot, branch: Branch) -> None:
        """Decode `branch` in a free place, to which the tokens before it are copied from `slot`."""
        copy = replace(slot)
        self.follow(copy, branch)
        self.buffers.move(self.running.index(slot), len(self.running), copy.fed)
        self.running.append(copy)

    def release(self, slot: Slot) -> None:
        """Free the place of `slot`; the last running window moves into it."""
        place = self.running.index(slot)
        last = len(self.running) - 1
        if place != last:
            self.buffers.move(last, place, self.running[last].fed)
            self.running[place] = self.running[last]
        self.running.pop()
        self.buffers.drop(last)

    def cross_of(self, slot: Slot) -> Heard:
        """The cross-attention inputs of a running window; may be overwritten when its place is."""
        return self.buffers.cross_of(self.running.index(slot))

    def close(self) -> None:
        """Stop the threads."""
        self.running.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def reading(self, slots: int, capacity: int) -> Reader:
        """New slots over the same decoder, for `capacity` tokens each, for any thread."""
        return Reader(self.decoder, self._graphs, slots, capacity)

    def reading_beside(self, slots: int, capacity: int) -> Reader:
        """The same for the thread of this engine: the next step of either overwrites the scores of both."""
        return Reader(self.decoder, self._graphs, slots, capacity, self.reader)

    def first_logits(self, hidden: Float32) -> Float32:
        """Logits [vocab] after start-of-transcript alone, for one window, outside the slots."""
        scratch = self.reading(1, 8)
        scratch.buffers.put(0, self.projector.project(hidden))
        logits: Float32 = scratch.step([self._config.sot], [0]).rows()[0]
        return logits
