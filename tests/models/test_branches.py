"""The search for a likelier text close to a greedy one, without a decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from asr_batch.models.recognizer import DecodeOptions
from asr_batch.models.whisper.engine.branches import Branch, Branches
from asr_batch.models.whisper.rules import Decoding

EOT, SURE = 99, math.log(0.99)
Step = tuple[int, float]


def heard(group: int) -> np.ndarray:
    """Attention to one group of 80."""
    return np.eye(80, dtype=np.float32)[group]


def text(
    steps: Sequence[Step], rivals: dict[int, Step], *, limit: int = 100, apart: int = 4
) -> tuple[Decoding, list[np.ndarray]]:
    """A greedy text of tokens with their log-probabilities, without the last step if that is end-of-text.

    Each token attends to a group `apart` groups after the one before it.
    """
    ended = steps[-1][0] == EOT
    tokens = steps[:-1] if ended else steps
    decoding = Decoding(
        DecodeOptions(search=True),
        (1, 2),
        limit,
        tokens=[token for token, _ in tokens],
        logprobs=[logprob for _, logprob in tokens],
        logprob=sum(logprob for _, logprob in steps),
        rivals=[(rivals.get(at, (7, -math.inf)),) for at in range(len(steps))],
        done=True,
        truncated=not ended,
    )
    return decoding, [heard(min(79, apart * at)) for at in range(len(steps))]


def grow(branch: Branch, token: int, logprob: float, group: int) -> None:
    """What a decoder step does with a branch."""
    decoding = branch.decoding
    branch.listened.append(heard(group))
    decoding.logprob += logprob
    if token == EOT:
        decoding.done = True
        return
    decoding.tokens.append(token)
    decoding.logprobs.append(logprob)
    decoding.done = decoding.truncated = len(decoding.tokens) >= decoding.limit


TEN: list[Step] = [(10 + i, SURE) for i in range(10)]


def doubtful(at: int, logprob: float = -2.0) -> list[Step]:
    """Ten sure tokens and end-of-text, of which one is doubtful."""
    return [*TEN[:at], (TEN[at][0], logprob), *TEN[at + 1 :], (EOT, SURE)]


def test_a_likelier_branch_that_joins_the_text_replaces_a_stretch() -> None:
    decoding, listened = text(doubtful(3), {3: (50, -1.0)})
    search = Branches(decoding, listened, EOT)
    branch = search.begin()
    assert branch is not None
    assert branch.decoding.tokens == [10, 11, 12, 50]
    assert branch.decoding.last == 50
    assert search.begin() is None
    for token, group, ends in ((51, 14, False), (14, 16, False), (15, 20, True)):
        grow(branch, token, SURE, group)
        assert search.ends(branch) is ends
    assert search.over
    best, attention = search.best()
    assert best.tokens == [10, 11, 12, 50, 51, 14, 15, 16, 17, 18, 19]
    assert best.logprob == pytest.approx(sum(best.logprobs) + SURE)
    assert best.logprob == pytest.approx(decoding.logprob + 2.0 - 1.0 + SURE)
    assert len(attention) == len(best.tokens) + 1
    assert decoding.tokens == [token for token, _ in TEN]


def test_the_third_most_likely_token_has_a_branch_too() -> None:
    decoding, listened = text(doubtful(3), {})
    decoding.rivals[3] = ((50, -1.2), (60, -1.3), (70, -9.0))  # the last is less likely than the text
    search = Branches(decoding, listened, EOT)
    begun = []
    while (branch := search.begin()) is not None:
        begun.append(branch.decoding.last)
        grow(branch, 14, -0.7 if begun[-1] == 50 else SURE, 16)
        grow(branch, 15, SURE, 20)
        assert search.ends(branch)
    assert begun == [50, 60]
    assert search.best()[0].tokens == [10, 11, 12, 60, 14, 15, 16, 17, 18, 19]


def test_a_branch_does_not_join_where_the_same_words_are_said_again() -> None:
    steps = [(10, SURE), (11, -3.0), (12, SURE), (13, SURE), (EOT, SURE)]
    search = Branches(*text(steps, {1: (50, -1.0)}, apart=20), EOT)
    branch = search.begin()
    assert branch is not None
    grow(branch, 12, SURE, 21)
    grow(branch, 13, SURE, 22)  # the text says it 38 groups later
    assert not search.ends(branch)
    grow(branch, 13, SURE, 60)
    grow(branch, EOT, SURE, 79)
    assert search.ends(branch)
    assert search.best()[0].tokens == [10, 50, 12, 13, 13]


def test_a_branch_that_becomes_less_likely_than_the_text_is_given_up() -> None:
    search = Branches(*text(doubtful(3), {3: (50, -1.0)}), EOT)
    branch = search.begin()
    assert branch is not None
    grow(branch, 51, -0.9, 16)
    assert not search.ends(branch)
    grow(branch, 52, -0.5, 20)  # -2.4, the eight tokens of the text together -2.06
    assert search.ends(branch)
    assert search.best()[0].tokens == [token for token, _ in TEN]


def test_no_branch_begins_where_the_text_is_sure() -> None:
    rivals = dict.fromkeys(range(11), (50, -3.0))
    search = Branches(*text(doubtful(5, -3.2), rivals), EOT)
    begun = []
    while (branch := search.begin()) is not None:
        begun.append(branch.at)
        grow(branch, 51, -9.0, 16)
        assert search.ends(branch)
    assert begun == [5, 4, 3, 2, 1, 0]  # the last one first, and each within eight tokens of the doubtful one


def test_a_branch_in_a_loop_is_given_up() -> None:
    search = Branches(*text(doubtful(3), {3: (50, -1.0)}), EOT)
    branch = search.begin()
    assert branch is not None
    for length in range(2, 16):
        grow(branch, 50, -0.001, 16)
        assert not search.ends(branch), length
    grow(branch, 50, -0.001, 16)
    assert search.ends(branch)
    assert search.best()[0].tokens == [token for token, _ in TEN]


def test_an_end_that_leaves_speech_out_is_not_believed() -> None:
    for at, kept in ((9, 9), (5, 10)):  # nine tokens of ten count, five do not
        search = Branches(*text(doubtful(at, -4.0), {at: (EOT, -0.1)}), EOT)
        assert search.begin() is None
        assert search.over
        assert len(search.best()[0].tokens) == kept


def test_a_text_at_the_token_limit_may_end_earlier_and_never_grows() -> None:
    loop = [*TEN[:3], (13, -2.0), *TEN[4:]]
    search = Branches(*text(loop, {3: (50, -1.0), 5: (EOT, -0.01)}, limit=10, apart=20), EOT)
    branch = search.begin()
    assert branch is not None
    assert branch.at == 3  # the end at token 5 needs no step
    for token in (51, 14, 15):
        grow(branch, token, SURE, 79)
    assert search.ends(branch)  # one token longer than what it replaces: the text would have eleven
    best, _ = search.best()
    assert best.tokens == [10, 11, 12, 13, 14]
    assert not best.truncated


def test_a_branch_at_the_token_limit_is_given_up() -> None:
    search = Branches(*text(doubtful(9), {9: (50, -0.5)}, limit=11), EOT)
    branch = search.begin()
    assert branch is not None
    grow(branch, 51, SURE, 40)
    assert branch.decoding.truncated
    assert search.ends(branch)
    assert search.best()[0].tokens == [token for token, _ in TEN]
    search = Branches(*text(TEN, {9: (50, -0.001)}, limit=10), EOT)
    assert search.begin() is None
    assert search.over


def test_exchanges_that_overlap_exclude_each_other() -> None:
    steps = [*TEN[:3], (13, -2.0), (14, -2.0), *TEN[5:8], (18, -2.0), TEN[9], (EOT, SURE)]
    search = Branches(*text(steps, {3: (50, -0.3), 4: (51, -1.0), 8: (52, -0.5)}), EOT)
    joins = {8: [(53, 36), (EOT, 40)], 4: [(15, 20), (16, 24)], 3: [(54, 16), (15, 20), (16, 24)]}
    while (branch := search.begin()) is not None:
        for token, group in joins[branch.at]:
            grow(branch, token, SURE, group)
        assert search.ends(branch)
    assert search.best()[0].tokens == [10, 11, 12, 50, 54, 15, 16, 17, 52, 53]


def shorter(heard_by_it: np.ndarray) -> tuple[list[int], list[int]]:
    """A text of ten tokens, and what it becomes with a branch of eight that is a little likelier."""
    steps = [(10, -0.2), (11, -1.5), *((token, -0.1) for token in range(12, 20)), (EOT, -0.1)]
    decoding, listened = text(steps, {1: (50, -1.55)}, apart=1)
    listened[1] = heard_by_it
    search = Branches(decoding, listened, EOT)
    branch = search.begin()
    assert branch is not None
    grow(branch, 14, -0.05, 4)
    grow(branch, 15, -0.05, 5)
    assert search.ends(branch)
    best, _ = search.best()
    return decoding.tokens, best.tokens


def test_of_two_spellings_of_the_same_speech_the_likelier_is_kept() -> None:
    """The mean over the tokens prefers "1, 2, 3" to "123", which attends to as much audio."""
    first, best = shorter(heard(1) + heard(2) + heard(3))
    assert best == [10, 50, *first[4:]]


def test_a_text_that_leaves_speech_out_is_not_believed() -> None:
    first, best = shorter(heard(1))
    assert best == first


def test_without_rivals_nothing_is_searched() -> None:
    decoding, listened = text(doubtful(3), {})
    search = Branches(decoding, listened, EOT)
    assert (len(search), search.begin(), search.over) == (0, None, True)
    assert search.best()[0].tokens == decoding.tokens
    broken = Branches(*text(doubtful(3), {3: (50, -1.0)}), EOT)
    branch = broken.begin()
    assert branch is not None
    branch.decoding.broken = branch.decoding.done = True
    assert broken.ends(branch)
    assert broken.best()[0].tokens == decoding.tokens
