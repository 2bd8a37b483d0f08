"""Beam search of some windows, outside the slots: k rows over the audio of each.

The rules are those of openai/whisper's `BeamSearchDecoder` with patience 1: of each beam, the k + 1 most
likely tokens compete; one that ends the text is finished; the search ends with k finished texts or at the
token limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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

    key: Any
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
    """The searches of up to `together` windows at once, over `width` beams each.

    As in the slots, a window starts as soon as another has ended. A step reads the weights once for all
    beams. Search i has the rows from i * width on. Rows are computed independently, so a window's text does
    not depend on the other windows.
    """

    def __init__(self, engine: DecoderEngine, rules: FastRules, eot: int, width: int, together: int) -> None:
        self._rules, self._eot, self._width, self._together = rules, eot, width, together
        self._engine, self._reader = engine, engine.reading_beside(width * together, _CAPACITY)
        self._buffers = self._reader.buffers
        self._running: list[_Search] = []

    def __len__(self) -> int:
        return len(self._running)

    @property
    def free(self) -> int:
        """Number of further windows that may start."""
        return self._together - len(self._running)

    def start(self, key: Any, slot: Slot, cross: Heard) -> None:
        """Search a window from its slot's prompt; the next steps feed the prompt to its first row."""
        first = len(self._running) * self._width
        for row in range(first, first + self._width):
            self._buffers.put(row, cross)
        groups = slot.groups or -(-cross.positions // GROUP)  # a slot stores more than the window's own
        search = _Search(key, slot, groups, [Beam(slot.decoding)])
        if slot.sot > AT_ONCE:
            self._reader.stepper.prefill(first, slot.decoding.prompt[: slot.sot])
            search.length = slot.sot
        self._running.append(search)

    def step(self) -> list[tuple[Any, list[Beam]]]:
        """Feed each beam its next token; returns the keys of the searches that end, with their texts.

        There is at least one text.
        """
        scored = [place for place, search in enumerate(self._running) if search.is_scored]
        begun = [place for place in scored if self._running[place].begun]
        places = begun + [place for place in scored if place not in begun]
        scores, row = self._feed(begun, places), 0
        for place in places:
            search = self._running[place]
            some = scores.between(row, row + len(search.beams))
            row += len(search.beams)
            if search.length == search.slot.sot:
                self._rules.begin(search.slot.decoding, some.rows()[0])
            if search.chooses:
                self._extend(search, some, place * self._width)
        for search in self._running:
            search.length += 1
        return self._ended()

    def _feed(self, ruled: Sequence[int], wanted: Sequence[int]) -> Scores:
        """The scores of the beams of the searches at the places `wanted`, of which `ruled` are the first.

        Rows without a beam get any token.
        """
        rows, ids, lengths = list[int](), list[int](), list[int]()
        for search in self._running:
            first, tokens = len(rows), search.next_tokens
            rows += [first + parent for parent in search.parents]
            rows += range(len(rows), first + self._width)
            ids += tokens + [self._eot] * (self._width - len(tokens))
            lengths += [search.length] * self._width
        self._buffers.reorder(rows, max(lengths))
        asked = [at * self._width + i for at in wanted for i in range(len(self._running[at].beams))]
        likely = sum(len(self._running[at].beams) for at in ruled)
        return self._engine.step_beside(self._reader, ids, lengths, asked, likely, self._width + 1)

    def _ended(self) -> list[tuple[Any, list[Beam]]]:
        """Remove ended searches; the last one moves into the place of each."""
        found, running = [], self._running
        for place in reversed(range(len(running))):
            if running[place].over(self._width):
                found.append((running[place].key, _finished(running[place])))
                last = running.pop()
                if place < len(running):
                    running[place] = last
                    for row in range(self._width):
                        source, target = (at * self._width + row for at in (len(running), place))
                        self._buffers.move(source, target, last.length)
        return found

    def _extend(self, search: _Search, scores: Scores, first: int) -> None:
        """Replace the beams, which are in the rows from `first` on, by the most likely of their children."""
        beams = search.beams
        attended = self._reader.stepper.attended[first : first + len(beams), 0, : search.groups]
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
