"""Words of mixed scripts: counted one by one, and the text between two of them stays as it was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_batch.pipeline.text.words import words_between, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("how are you?", ["how", "are", "you?"]),
        ("what你好 from", ["what", "你", "好", "from"]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),
        ("「はい」 3kg", ["「", "は", "い」", "3kg"]),
        ("", []),
    ],
)
def test_words_and_the_text_between_them(text: str, words: list[str]) -> None:
    assert words_of(text) == words
    assert words_between(text, 0, len(words)) == text


def test_a_part_is_cut_between_words() -> None:
    assert words_between("one what你好，世界 two", 1, 4) == "what你好，"
    assert words_between("one two", 2, 2) == ""


@given(st.text(alphabet="ab .,'-你好，はกำ\u0301", max_size=30), st.integers(0, 8))
def test_two_parts_make_the_whole(text: str, cut: int) -> None:
    words = words_of(text)
    parts = [words_between(text, 0, cut), words_between(text, cut, len(words))]
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
