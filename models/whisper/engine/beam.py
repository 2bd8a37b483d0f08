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
from asr_batch.models.whisper.engine.slots import DecoderEngine, Slot
from asr_batch.models.whisper.engine.vocabulary import Scores
from asr_batch.models.whisper.rules import Decoding

Float32 = NDArray[np.float32]


@dataclass(slots=True)
class Beam:
    """A text, and the attention over the window for each of its tokens and end-of-text, [groups]."""

    decoding: Decoding
    listened: list[Float32] = field(default_factory=list)


@dataclass(slots=True)
class _Search:
    """The search of one window: its beams, the parent row of each, and the finished texts.

    `length` tokens of each beam are in the cache.
    """

    beams: list[Beam]
    length: int
    groups: int
    parents: list[int] = field(default_factory=list)
    finished: list[Beam] = field(default_factory=list)

    def over(self, width: int) -> bool:
        """Whether the search has ended."""
        return len(self.finished) >= width or not self.parents or _at_limit(self.beams[0].decoding)


class BeamSearch:
    """The searches of up to `together` windows at once, over `width` beams each.

    A step reads the weights once for all beams. Search i has the rows from i * width on. Rows are computed
    independently, so a window's text does not depend on the other windows.
    """

    def __init__(self, engine: DecoderEngine, rules: FastRules, eot: int, width: int, together: int) -> None:
        self._rules, self._eot, self._width = rules, eot, width
        self._engine, self._reader = engine, engine.reading(width * together, 48)
        self._buffers = self._reader.buffers

    def run(self, windows: Sequence[tuple[Slot, Heard]]) -> list[list[Beam]]:
        """The finished texts of each window, at least one, starting from its slot's prompt."""
        places = reversed(range(len(windows)))  # the first place, where prompts are fed, last
        searches = [self._begin(place, *windows[place]) for place in places][::-1]
        running = list(searches)
        while True:
            self._close_ended(running)
            if not running:
                return [_finished(search) for search in searches]
            self._step(running)

    def _begin(self, place: int, slot: Slot, cross: Heard) -> _Search:
        """Feed the prompt to row 0; its cache moves to the search's first row, whence all beams take it."""
        first = place * self._width
        for row in (0, *range(first + 1, first + self._width)):
            self._buffers.put(row, cross)
        scores = self._feed_prompt(slot)
        groups = slot.groups or -(-cross.positions // GROUP)  # a slot stores more than the window's own
        search = _Search([Beam(slot.decoding)], len(slot.decoding.prompt), groups)
        self._extend(search, scores, 0)
        if place:
            self._buffers.move(0, first, search.length)
        return search

    def _feed_prompt(self, slot: Slot) -> Scores:
        """Scores of the first token."""
        scores = Scores((), np.zeros(0))
        for at, token in enumerate(slot.decoding.prompt):
            scores = self._reader.step([token], [at])
            if at == slot.sot:
                self._rules.begin(slot.decoding, scores.rows()[0])
        return scores

    def _close_ended(self, running: list[_Search]) -> None:
        """Remove ended searches; the last one moves into the place of each."""
        for place in reversed(range(len(running))):
            if running[place].over(self._width):
                last = running.pop()
                if place < len(running):
                    running[place] = last
                    for row in range(self._width):
                        source, target = (at * self._width + row for at in (len(running), place))
                        self._buffers.move(source, target, last.length)

    def _step(self, running: Sequence[_Search]) -> None:
        """Feed each beam its last token, and extend all of them. Rows without a beam get any token."""
        rows, ids, lengths = list[int](), list[int](), list[int]()
        for search in running:
            first, spare = len(rows), self._width - len(search.beams)
            rows += [first + parent for parent in search.parents]
            rows += range(len(rows), first + self._width)
            ids += [beam.decoding.last for beam in search.beams] + [self._eot] * spare
            lengths += [search.length] * self._width
        self._buffers.reorder(rows, max(lengths))
        scores = self._engine.step_beside(self._reader, ids, lengths, self._width + 1)
        for place, search in enumerate(running):
            search.length += 1
            first = place * self._width
            self._extend(search, scores.between(first, first + len(search.beams)), first)

    def _extend(self, search: _Search, scores: Scores, first: int) -> None:
        """Replace the beams, which are in the rows from `first` on, by the most likely of their children."""
        beams = search.beams
        listened = self._reader.stepper.attended[first : first + len(beams), 0, : search.groups].copy()
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
