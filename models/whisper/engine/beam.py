"""Beam search of one window, outside the slots: k rows over the same audio.

The rules are those of openai/whisper's `BeamSearchDecoder` with patience 1: of each beam, the k + 1 most
likely tokens compete; one that ends the text is finished; the search ends with k finished texts or at the
token limit; the winner has the highest mean log-probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.alignment import GROUP
from asr_batch.models.whisper.engine.choose import FastRules
from asr_batch.models.whisper.engine.decoder import Heard
from asr_batch.models.whisper.engine.slots import DecoderEngine, Slot
from asr_batch.models.whisper.engine.vocabulary import Scores
from asr_batch.models.whisper.rules import Decoding

Float32 = NDArray[np.float32]


@dataclass(slots=True)
class Beam:
    """A text, and the attention over the window for each of its tokens and end-of-text, [groups]."""

    decoding: Decoding
    listened: list[Float32] = field(default_factory=list)


class BeamSearch:
    """One window's search over `width` beams."""

    def __init__(self, engine: DecoderEngine, rules: FastRules, eot: int, width: int) -> None:
        self._rules, self._eot, self._width = rules, eot, width
        self._engine, self._reader = engine, engine.reading(width, 64)
        self._buffers = self._reader.buffers

    def run(self, slot: Slot, cross: Heard) -> Beam:
        """The winner for `cross`, starting from the slot's prompt."""
        for row in range(self._width):
            self._buffers.put(row, cross)
        scores = self._feed_prompt(slot)
        beams, finished = [Beam(slot.decoding)], list[Beam]()
        length, groups = len(slot.decoding.prompt), -(-cross.positions // GROUP)
        while True:
            beams, parents, ended = self._extend(beams, scores, groups)
            finished += ended
            if len(finished) >= self._width or not beams or _at_limit(beams[0].decoding):
                break
            self._buffers.reorder(parents, length)
            ids = [beam.decoding.last for beam in beams]
            scores = self._engine.step_beside(self._reader, ids, [length] * len(beams))
            length += 1
        return self._best(finished, beams)

    def _feed_prompt(self, slot: Slot) -> Scores:
        """Scores of the first token. Feeds one row, whose cache all beams take over."""
        scores = Scores((), np.zeros(0))
        for at, token in enumerate(slot.decoding.prompt):
            scores = self._reader.step([token], [at])
            if at == slot.sot:
                self._rules.begin(slot.decoding, scores.rows()[0])
        return scores

    def _extend(
        self, beams: list[Beam], scores: Scores, groups: int
    ) -> tuple[list[Beam], list[int], list[Beam]]:
        """The next beams, the parent row of each, and the finished texts."""
        listened = self._reader.stepper.attended[: len(beams), 0, :groups].copy()
        best = self._rules.likeliest([beam.decoding for beam in beams], scores, self._width + 1)
        candidates = [
            (beam.decoding.logprob + logprob, at, token)
            for at, (beam, some) in enumerate(zip(beams, best, strict=True))
            for token, logprob in some
        ]
        candidates.sort(key=lambda candidate: (-candidate[0], candidate[1:]))
        grown, parents, ended = list[Beam](), list[int](), list[Beam]()
        for score, at, token in candidates:
            if not np.isfinite(score) or len(grown) == self._width:
                break
            child = self._grown(beams[at], token, score, listened[at])
            if child.decoding.done:
                ended.append(child)
            else:
                grown.append(child)
                parents.append(at)
        places = _places(parents)
        return [grown[i] for i in places], [parents[i] for i in places], ended

    def _grown(self, beam: Beam, token: int, score: float, listened: Float32) -> Beam:
        done = token == self._eot
        tokens = beam.decoding.tokens if done else [*beam.decoding.tokens, token]
        decoding = replace(beam.decoding, tokens=tokens, logprob=score, done=done)
        return Beam(decoding, [*beam.listened, listened])

    def _best(self, finished: list[Beam], beams: list[Beam]) -> Beam:
        if finished:
            return max(finished, key=lambda beam: beam.decoding.avg_logprob)
        best = max(beams, key=lambda beam: beam.decoding.avg_logprob)
        return Beam(replace(best.decoding, done=True, truncated=True), best.listened)


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
