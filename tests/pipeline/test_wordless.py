"""Texts that decoders write for laughter, cries, and one syllable again and again."""

from __future__ import annotations

import pytest

from asr_batch.pipeline.text.wordless import is_cry, is_haha, rhythm


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("Hahahaha!", 0.7, 0.8),
        ("Duh, duh, duh, duh, duh.", 0.8, 0.8),
        ("Noooooooo", 0.7, 0.8),
        ("T-t-t-t-t", 0.8, 0.8),
        ("\u306f\u306f\u306f\u306f", 0.75, 0.75),
        ("Monday, Monday, Monday", 0.6, 0.7),
        ("Mississippi", 0.4, 0.6),
        ("No, no", 0.5, 0.5),
        ("Press one to record your message.", 0.0, 0.2),
        ("leave a message after the tone " * 9, 0.0, 0.3),  # a sentence is no syllable
        ("8, 8, 8, 8, 8", 0.0, 0.0),
        ("Oh", 0.0, 0.0),
        ("...", 0.0, 0.0),
    ],
)
def test_rhythm_is_the_share_of_letters_that_equal_those_a_syllable_before(
    text: str, least: float, most: float
) -> None:
    assert least <= rhythm(text) <= most


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
