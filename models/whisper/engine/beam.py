"""Beam search of one window, outside the slots: k rows over the same audio, keeping the best k
continuations.

The rules are those of openai/whisper's `BeamSearchDecoder` with patience 1: of each beam, the k + 1 most
likely tokens compete; one that ends the text is finished; the search ends with k finished texts or at the
token limit; the winner has the highest mean log-probability.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.engine.choose import FastRules
from asr_batch.models.whisper.engine.decoder import Heard
from asr_batch.models.whisper.engine.slots import DecoderEngine, Slot
from asr_batch.models.whisper.rules import Decoding

Float32 = NDArray[np.float32]


class BeamSearch:
    """One window's search over `width` beams."""

    def __init__(self, engine: DecoderEngine, rules: FastRules, eot: int, width: int) -> None:
        self._rules, self._eot, self._width = rules, eot, width
        self._reader = engine.reading(width, 64)
        self._buffers = self._reader.buffers

    def run(self, slot: Slot, cross: Heard) -> Decoding:
        """The winner for `cross`, starting from the slot's prompt."""
        for row in range(self._width):
            self._buffers.put(row, cross)
        rows = self._feed_prompt(slot)
        beams, finished = [slot.decoding], list[Decoding]()
        length = len(slot.decoding.prompt)
        while True:
            beams, parents, ended = self._extend(beams, rows[: len(beams)])
            finished += ended
            if len(finished) >= self._width or not beams or len(beams[0].tokens) >= beams[0].limit:
                break
            self._buffers.reorder(parents, length)
            rows = self._reader.step([beam.last for beam in beams], [length] * len(beams)).rows()
            length += 1
        return self._best(finished, beams)

    def _feed_prompt(self, slot: Slot) -> Float32:
        rows: Float32 = np.zeros((0, 0), np.float32)
        for at, token in enumerate(slot.decoding.prompt):
            rows = self._reader.step([token] * self._width, [at] * self._width).rows()
            if at == slot.sot:
                self._rules.begin(slot.decoding, rows[0])
        return rows

    def _extend(
        self, beams: list[Decoding], rows: Float32
    ) -> tuple[list[Decoding], list[int], list[Decoding]]:
        """The next beams, the parent row of each, and the finished texts."""
        logprobs = self._rules.allowed(beams, rows)
        candidates = [
            (beam.logprob + float(row[token]), at, token)
            for at, (beam, row) in enumerate(zip(beams, logprobs, strict=True))
            for token in np.argpartition(-row, self._width)[: self._width + 1].tolist()
        ]
        candidates.sort(key=lambda candidate: -candidate[0])
        grown, parents, ended = list[Decoding](), list[int](), list[Decoding]()
        for score, at, token in candidates:
            if not np.isfinite(score) or len(grown) == self._width:
                break
            tokens = [*beams[at].tokens] if token == self._eot else [*beams[at].tokens, token]
            child = replace(beams[at], tokens=tokens, logprob=score, done=token == self._eot)
            if child.done:
                ended.append(child)
            else:
                grown.append(child)
                parents.append(at)
        return grown, parents, ended

    def _best(self, finished: list[Decoding], beams: list[Decoding]) -> Decoding:
        if finished:
            return max(finished, key=lambda beam: beam.avg_logprob)
        best = max(beams, key=lambda beam: beam.avg_logprob)
        return replace(best, done=True, truncated=True)
