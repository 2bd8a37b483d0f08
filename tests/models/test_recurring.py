"""How sure a decoder was of a word that it then wrote again."""

from __future__ import annotations

import math

import pytest

from asr_batch.models.recognizer import DecodeOptions
from asr_batch.models.whisper.recurring import recurring_doubt
from asr_batch.models.whisper.rules import Decoding

COLOR = [" this", " color"]


class Texts:
    """Tokens that are their texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def of(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def decode(self, ids: list[int]) -> str:
        return "".join(self.texts[i] for i in ids)

    def text_ids(self, ids: list[int]) -> list[int]:
        return list(ids)


def doubt(tokens: list[str], rivals: dict[int, dict[str, float]]) -> float:
    """Of a text of these tokens; `rivals`: other tokens, and how likely each was."""
    texts = Texts()
    first = Decoding(
        DecodeOptions(search=True),
        (),
        100,
        tokens=[texts.of(token) for token in tokens],
        logprobs=[-0.1] * len(tokens),
        rivals=[
            tuple((texts.of(token), math.log(chance)) for token, chance in rivals.get(at, {}).items())
            for at in range(len(tokens) + 1)
        ],
    )
    return recurring_doubt(first, texts)  # type: ignore[arg-type]


def test_a_word_that_recurs_after_a_choice_between_two_is_doubtful() -> None:
    assert doubt(COLOR * 3, {1: {" caller": 0.3}}) == pytest.approx(0.3)
    assert doubt(COLOR * 3, {1: {" caller": 0.3, " collar": 0.1}}) == pytest.approx(0.4)
    assert doubt(COLOR * 3, {1: {" caller": 0.3}, 3: {" caller": 0.01}}) == pytest.approx(0.3)
    assert doubt([*COLOR * 3, " Colors."], {1: {" caller": 0.3}, 7: {" caller": 0.3}}) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("tokens", "rivals"),
    [
        (COLOR * 2, {1: {" caller": 0.3}}),
        (COLOR * 3, {3: {" caller": 0.3}}),
        (COLOR * 3, {1: {" caller": 0.3}, 3: {" caller": 0.1}}),
        ([" to", " be"] * 3, {0: {" two": 0.3}}),
        (COLOR * 3, {1: {" Color": 0.3, " Col": 0.1}}),
        (COLOR * 3, {1: {",": 0.3}}),
        (COLOR * 3, {}),
        ([], {}),
    ],
    ids=["twice", "later", "in doubt later too", "short", "the same", "a comma", "no rival", "no text"],
)
def test_other_words_are_not(tokens: list[str], rivals: dict[int, dict[str, float]]) -> None:
    assert doubt(tokens, rivals) == 0


def test_a_word_may_have_several_tokens() -> None:
    word = [" col", "or"]
    assert doubt(word * 3, {0: {" coll": 0.1}, 1: {"lar": 0.3}}) == pytest.approx(0.3)
    assert doubt(word * 3, {1: {" or": 0.3}}) == pytest.approx(0.3)
    assert doubt(word * 3, {1: {"ored": 0.3}}) == pytest.approx(0.3)
    assert doubt(word * 3, {1: {"OR": 0.3, ".": 0.1}}) == 0
