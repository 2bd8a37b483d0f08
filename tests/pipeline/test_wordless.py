"""Texts that decoders write for laughter, cries, and one syllable again and again."""

from __future__ import annotations

import pytest

from asr_batch.pipeline.text.wordless import (
    chants_otherwise,
    drawn_out,
    is_caption,
    is_cry,
    is_haha,
    is_laughter,
    stutter,
)


@pytest.mark.parametrize(
    ("text", "laughs"),
    [("Hahaha!", True), ("Hehahaha. Hahaha", True), ("Mississippi", False), ("\u306f\u3044" * 3, False)],
)
def test_laughter_is_words_of_one_syllable_again_and_again(text: str, laughs: bool) -> None:
    assert is_laughter(text) == laughs


@pytest.mark.parametrize(
    ("text", "laughs"),
    [
        ("Ha", True),
        ("Ha, heh, hehe, ahaha", True),
        ("Hahahaha!", True),
        ("Ha, he", False),
        ("Aha", False),
        ("Ahead", False),
        ("LSTTTTTT", False),
    ],
)
def test_a_laugh_is_spelled_in_a_few_ways(text: str, laughs: bool) -> None:
    assert is_haha(text) == laughs


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("ТРЕВОЖНАЯ МУЗЫКА", True),
        ("DRAMATIC MUSIC", True),
        ("Dramatic music", False),
        ("NASA", False),
        ("1 234 567 890", False),
        ("\u97f3\u697d" * 6, False),  # a script without capitals
    ],
)
def test_sounds_are_described_in_capitals(text: str, caption: bool) -> None:
    assert is_caption(text) == caption


@pytest.mark.parametrize(
    ("text", "cry"),
    [
        ("Mmm.", True),
        ("OOOH! Ah...", True),
        ("Mm-hmm.", True),
        ("BEEE! Daaah!", True),
        ("www", False),
        ("M", False),  # a letter
        ("Oh no", False),
        ("Home", False),
        ("...", False),
    ],
)
def test_interjections_are_cries(text: str, cry: bool) -> None:
    assert is_cry(text) == cry


@pytest.mark.parametrize(
    ("text", "letters"),
    [("Noooooooo!", "o"), ("waa" + "haa" * 9, "aah"), ("Hahaha!", ""), ("88888888", ""), ("oh, " * 8, "")],
)
def test_no_word_has_the_same_letters_eight_times_in_a_row(text: str, letters: str) -> None:
    assert drawn_out(text) == letters


@pytest.mark.parametrize(
    ("text", "share"), [("tap tap tap tap", 0.75), ("T-t-t-t", 0.75), ("8 8 8 8", 0.0), ("", 0.0)]
)
def test_a_stutter_is_the_share_of_words_that_equal_the_one_before(text: str, share: float) -> None:
    assert stutter(text) == share


@pytest.mark.parametrize(
    ("text", "other", "otherwise"),
    [
        ("Chup,", "see see see see see", True),
        ("Chup,", "Choo-choo-choo-choo-choo", False),  # begins alike
        ("Chup,", "see see see", False),  # too short to tell
        ("Chup,", "see him, see her, see us, see them", False),
        ("Then see", "see see see see see", False),
        ("...", "see see see see see", False),
    ],
)
def test_another_syllable_again_and_again(text: str, other: str, otherwise: bool) -> None:
    assert chants_otherwise(text, other) == otherwise
