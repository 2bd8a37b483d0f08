"""Beam search of some windows, outside the slots: k rows over the audio of each.

The rules are those of openai/whisper's `BeamSearchDecoder` with patience 1: of each beam, the k + 1 most
likely tokens compete; one that ends the text is finished; the search ends with k finished texts or at the
token limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.alignment import GROUP
from asr_batch.models.whisper.engine.choose import FastRules
from asr_batch.models.whisper.engine.decoder import Heard
from asr_batch.models.whisper.engine.slots import AT_ONCE, DecoderEngine, Slot
from asr_batch.models.whisper.engine.vocabulary import Scores
from asr_batch.models.whisper.rules import Decoding

Float32 = NDArray[np.float32]
_CAPACITY = 48  # tokens per row at first


@dataclass(slots=True)
class Beam:
    """A text, and the attention over the window for each of its tokens and end-of-text, [groups]."""

    decoding: Decoding
    listened: list[Float32] = field(default_factory=list)


@dataclass(slots=True)
class _Search:
    """The search of one window: its beams, the parent row of each, and the finished texts.

    `length` tokens of the prompt, or of each beam, are in the cache.
    """

    slot: Slot
    groups: int
    beams: list[Beam]
    length: int = 0
    parents: list[int] = field(default_factory=lambda: [0])
    finished: list[Beam] = field(default_factory=list)

    @property
    def next_tokens(self) -> list[int]:
        """The token to feed to each beam: of the prompt, or its last one."""
        if not self.begun:
            return [self.slot.decoding.prompt[self.length]]
        return [beam.decoding.last for beam in self.beams]

    @property
    def begun(self) -> bool:
        """Whether the next step feeds tokens of texts."""
        return self.length >= len(self.slot.decoding.prompt)

    @property
    def chooses(self) -> bool:
        """Whether the next step extends the beams."""
        return self.length + 1 >= len(self.slot.decoding.prompt)

    @property
    def is_scored(self) -> bool:
        """Whether the next step needs logits."""
        return self.chooses or self.length == self.slot.sot

    def over(self, width: int) -> bool:
        """Whether the search has ended."""
        ended = len(self.finished) >= width or not self.parents or _at_limit(self.beams[0].decoding)
        return self.begun and ended


class BeamSearch:
    """Searches one window after another, with `width` beams in as many rows."""

    def __init__(self, engine: DecoderEngine, rules: FastRules, eot: int, width: int) -> None:
        self._rules, self._eot, self._width = rules, eot, width
        self._engine, self._reader = engine, engine.reading_beside(width, _CAPACITY)
        self._buffers = self._reader.buffers

    def run(self, slot: Slot, cross: Heard) -> list[Beam]:
        """The finished texts of a window, at least one, from its slot's prompt."""
        for row in range(self._width):
            self._buffers.put(row, cross)
        search = _Search(slot, -(-cross.positions // GROUP), [Beam(slot.decoding)])
        if slot.sot > AT_ONCE:
            self._reader.stepper.prefill(0, slot.decoding.prompt[: slot.sot])
            search.length = slot.sot
        while not search.over(self._width):
            self._step(search)
        return _finished(search)

    def _step(self, search: _Search) -> None:
        """Feed each beam its next token; the prompt is fed to the first row."""
        scores = self._feed(search)
        if search.length == search.slot.sot:
            self._rules.begin(search.slot.decoding, scores.rows()[0])
        if search.chooses:
            self._extend(search, scores)
        search.length += 1

    def _feed(self, search: _Search) -> Scores:
        """The scores of the beams, if they are needed. Rows without a beam get any token."""
        tokens, parents = search.next_tokens, search.parents
        self._buffers.reorder([*parents, *range(len(parents), self._width)], search.length)
        ids = tokens + [self._eot] * (self._width - len(tokens))
        asked = range(len(search.beams) if search.is_scored else 0)
        likely = len(asked) if search.begun else 0
        lengths = [search.length] * self._width
        return self._engine.step_beside(self._reader, ids, lengths, asked, likely, self._width + 1)

    def _extend(self, search: _Search, scores: Scores) -> None:
        """Replace the beams by the most likely of their children."""
        beams = search.beams
        attended = self._reader.stepper.attended[: len(beams), 0, : search.groups]
        listened = [row.copy() for row in attended]  # apart, because few beams live on
        best = self._rules.likeliest([beam.decoding for beam in beams], scores, self._width + 1)
        candidates = [
            (beam.decoding.logprob + logprob, at, token)
            for at, (beam, some) in enumerate(zip(beams, best, strict=True))
            for token, logprob in some
        ]
        candidates.sort(key=lambda candidate: (-candidate[0], candidate[1:]))
        grown, parents = list[Beam](), list[int]()
        for score, at, token in candidates:
            if not np.isfinite(score) or len(grown) == self._width:
                break
            child = self._grown(beams[at], token, score, listened[at])
            if child.decoding.done:
                search.finished.append(child)
            else:
                grown.append(child)
                parents.append(at)
        places = _places(parents)
        search.beams, search.parents = [grown[i] for i in places], [parents[i] for i in places]

    def _grown(self, beam: Beam, token: int, score: float, listened: Float32) -> Beam:
        done = token == self._eot
        tokens = beam.decoding.tokens if done else [*beam.decoding.tokens, token]
        decoding = replace(beam.decoding, tokens=tokens, logprob=score, done=done)
        return Beam(decoding, [*beam.listened, listened])


def _finished(search: _Search) -> list[Beam]:
    """The finished texts, or the most likely one at the token limit."""
    if search.finished:
        return search.finished
    best = max(search.beams, key=lambda beam: beam.decoding.avg_logprob)
    return [Beam(replace(best.decoding, done=True, truncated=True), best.listened)]


def _places(parents: Sequence[int]) -> list[int]:
    """The beam of each row: a beam stays in its parent's row if possible, because its cache is there."""
    rows: dict[int, int] = {}
    for i, parent in enumerate(parents):
        if parent < len(parents):
            rows.setdefault(parent, i)
    others = iter(sorted(set(range(len(parents))) - set(rows.values())))
    return [rows[row] if row in rows else next(others) for row in range(len(parents))]


def _at_limit(decoding: Decoding) -> bool:
    return len(decoding.tokens) >= decoding.limit
