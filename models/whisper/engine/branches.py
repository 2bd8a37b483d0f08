"""Looks for a likelier text close to a greedy one: a search with one discrepancy at a time.

A branch departs from the text at one token, takes one of the next likely ones instead, and continues greedily
until it writes the same as the text again and attends to the same audio. It then replaces a stretch of the
text, the rest of which is taken to stay as it is. Harvey and Ginsberg (1995), "Limited discrepancy search",
search a tree by such departures from the first choice. That a few equal words make what was before them
irrelevant is the word pair approximation of Ortmanns, Ney and Aubert (1997), "A word graph algorithm for
large vocabulary continuous speech recognition".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.engine.ranking import fewest_tokens, scores
from asr_batch.models.whisper.rules import Decoding, Likely

Float32 = NDArray[np.float32]

_AHEAD = 8
"""Tokens of the text that a branch has to be likelier than: it only gets less likely, and nearly all that win
replace fewer.
"""

_LONGEST = 16
"""Tokens after which a branch is given up: a loop never gets much less likely."""

_EQUAL = 2
"""Equal tokens in a row with which a branch joins the text."""

_NEAR, _APART = 3.0, 4
"""Maximum distance of the two last ones: in groups of positions (80 ms) to which they attended, as the same
words may be said twice; in tokens, as a decoder may write them twice.
"""


@dataclass(slots=True)
class Branch:
    """A text that departs from another one at token `at`, and is given up below the log-probability `floor`.

    `decoding` and `listened`, the attention for each token [groups], include the tokens before.
    """

    at: int
    floor: float
    decoding: Decoding
    listened: list[Float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Other `tokens`, with their log-probabilities and attention, for those in [start, end) of the text.

    `ends`: end-of-text is one of these. `gain`: change of the text's log-probability; `attention`: change of
    the sum over its tokens, [groups]; `longer`: change of their number.
    """

    start: int
    end: int
    tokens: list[int]
    logprobs: list[float]
    listened: list[Float32]
    ends: bool
    gain: float
    attention: Float32
    longer: int

    def overlaps(self, other: _Exchange) -> bool:
        """Whether both replace the same token."""
        return self.start < other.end and other.start < self.end


class Branches:
    """The branches of a text `first` that was decoded greedily, with the attention `listened` for each of its
    tokens and end-of-text, and the likeliest text that they make of it.

    They begin from the last token to the first. So all of them can run where the text was decoded: each finds
    the keys and values before its token as the text left them.
    """

    def __init__(self, first: Decoding, listened: Sequence[Float32], eot: int) -> None:
        self._first, self._listened, self._eot = first, list(listened), eot
        self._heard = np.array(self._listened, np.float32)
        end = [] if first.truncated else [first.logprob - sum(first.logprobs)]
        self._before = list(accumulate([*first.logprobs, *end], initial=0.0))  # log-probability up to a token
        self._pairs: dict[tuple[int, ...], list[int]] = {}  # where equal tokens end
        for end_at in range(_EQUAL, len(first.tokens) + 1):
            self._pairs.setdefault(tuple(first.tokens[end_at - _EQUAL : end_at]), []).append(end_at)
        self._waiting = [
            (at, rival)
            for at, rivals in enumerate(first.rivals)
            for rival in reversed(rivals)
            if self._before[at] + rival[1] >= self._floor(at)
        ]
        self._running = 0
        self._exchanges: list[_Exchange] = []

    def __len__(self) -> int:
        """Branches that have not begun."""
        return len(self._waiting)

    @property
    def over(self) -> bool:
        """Whether every branch has ended."""
        return not self._waiting and not self._running

    def _floor(self, at: int) -> float:
        return self._before[min(at + _AHEAD, len(self._before) - 1)]

    def begin(self) -> Branch | None:
        """The next branch, whose own first token is to be fed next; None if none is left."""
        while self._waiting:
            branch = self._branch(*self._waiting.pop())
            self._running += 1
            if not self.ends(branch):
                return branch
        return None

    def _branch(self, at: int, rival: Likely) -> Branch:
        first, (token, logprob) = self._first, rival
        ends = token == self._eot
        decoding = replace(
            first,
            tokens=[*first.tokens[:at], *([] if ends else [token])],
            logprobs=[*first.logprobs[:at], *([] if ends else [logprob])],
            logprob=self._before[at] + logprob,
            rivals=[],
            done=ends or at + 1 >= first.limit,
            truncated=not ends and at + 1 >= first.limit,
        )
        return Branch(at, self._floor(at), decoding, self._listened[: at + 1])

    def ends(self, branch: Branch) -> bool:
        """Whether a branch ends after its last step; keeps what it found."""
        decoding, at = branch.decoding, branch.at
        end = None if decoding.done else self._joined(branch)
        if decoding.done and not (decoding.truncated or decoding.broken):
            end = len(self._before) - 1
        if end is not None:
            self._keep(branch, end)
        hopeless = decoding.logprob < branch.floor or len(decoding.tokens) - at >= _LONGEST
        if end is None and not decoding.done and not hopeless:
            return False
        self._running -= 1
        return True

    def _joined(self, branch: Branch) -> int | None:
        """The token before which the branch has joined the text."""
        tokens = branch.decoding.tokens
        if len(tokens) - branch.at <= _EQUAL:
            return None
        ends = [
            end
            for end in self._pairs.get(tuple(tokens[-_EQUAL:]), ())
            if end - _EQUAL >= branch.at and abs(end - len(tokens)) <= _APART
        ]
        here = _center(branch.listened[-1])
        apart = {end: abs(_center(self._listened[end - 1]) - here) for end in ends}
        nearest = min(ends, key=lambda end: (apart[end], abs(end - len(tokens))), default=None)
        return nearest if nearest is not None and apart[nearest] <= _NEAR else None

    def _keep(self, branch: Branch, end: int) -> None:
        decoding, at, count = branch.decoding, branch.at, len(self._first.tokens)
        tokens, listened = decoding.tokens[at:], branch.listened[at:]
        kept = _Exchange(
            start=at,
            end=end,
            tokens=tokens,
            logprobs=decoding.logprobs[at:],
            listened=listened,
            ends=decoding.done,
            gain=decoding.logprob - self._before[end],
            attention=_summed(listened[: len(tokens)], self._heard)
            - self._heard[at : min(end, count)].sum(axis=0),
            longer=len(tokens) - (min(end, count) - at),
        )
        self._exchanges.append(kept)

    def best(self) -> tuple[Decoding, list[Float32]]:
        """The likeliest text and its attention, when every branch has ended.

        The exchange that helps most is made first, and others if they help further.
        """
        every, chosen = sorted(self._exchanges, key=lambda one: one.start), list[_Exchange]()
        gains, changes = np.array([one.gain for one in every]), np.array([one.attention for one in every])
        total = self._before[-1]
        attention = self._heard[: len(self._first.tokens)].sum(axis=0)
        likeliest = float(scores(np.array(total), attention))
        while every:
            found = scores(total + gains, attention + changes)
            found[[not self._fits(one, chosen) for one in every]] = -math.inf
            best = int(found.argmax())
            if not found[best] > likeliest:
                break
            chosen.append(every[best])
            total, attention, likeliest = total + gains[best], attention + changes[best], float(found[best])
        return self._with(sorted(chosen, key=lambda one: one.start))

    def _fits(self, one: _Exchange, chosen: Sequence[_Exchange]) -> bool:
        """Whether an exchange can be made besides others."""
        count = len(self._first.tokens) + sum(other.longer for other in (one, *chosen))
        few, many = count < fewest_tokens(self._first), count > self._first.limit
        return not few and not many and not any(one.overlaps(other) for other in chosen)

    def _with(self, chosen: Sequence[_Exchange]) -> tuple[Decoding, list[Float32]]:
        first, at = self._first, 0
        tokens, logprobs, listened = list[int](), list[float](), list[Float32]()
        for one in chosen:
            tokens += first.tokens[at : one.start] + one.tokens
            logprobs += first.logprobs[at : one.start] + one.logprobs
            listened += self._listened[at : one.start] + one.listened
            at = one.end
        changed = replace(
            first,
            tokens=tokens + first.tokens[at:],
            logprobs=logprobs + first.logprobs[at:],
            logprob=first.logprob + sum(one.gain for one in chosen),
            rivals=[],
            truncated=first.truncated and not any(one.ends for one in chosen),
        )
        return changed, listened + self._listened[at:]


def _summed(listened: Sequence[Float32], like: Float32) -> Float32:
    return np.sum(listened, axis=0) if len(listened) else np.zeros_like(like[0])


def _center(listened: Float32) -> float:
    """Mean group to which a token attended."""
    total = float(listened.sum())
    return float(listened @ np.arange(len(listened))) / total if total > 0 else 0.0
