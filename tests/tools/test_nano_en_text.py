"""The text of nano.en's recipe: deterministic, without test sentences in training, in plain words."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from nano_en.text import domain_text
from nano_en.words import number, plural


def test_text_is_the_same_at_every_call_and_keeps_test_apart() -> None:
    text = domain_text(800, 60)
    assert text == domain_text(800, 60)
    assert len(text["train"]) == 800
    assert not set(text["test"]) & set(text["train"])
    assert all(re.fullmatch(r"[A-Z][A-Za-z',?. -]*[.?]", sentence) for sentence in text["train"])


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (342, "three hundred and forty-two"),
        (9001, "nine thousand one"),
    ],
)
def test_numbers_in_words(n: int, words: str) -> None:
    assert number(n) == words


def test_plurals() -> None:
    assert [plural(word) for word in ("factory", "key", "box", "wolf", "sandwich")] == [
        "factories", "keys", "boxes", "wolfs", "sandwiches",
    ]  # fmt: skip
