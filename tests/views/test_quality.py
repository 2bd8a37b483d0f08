from __future__ import annotations

import subprocess
import sys

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from asr_batch.jobs.quality import Errors, Slices, compare, duration_slice, errors_of, score


@pytest.mark.parametrize(
    ("reference", "hypothesis", "language", "wer"),
    [
        ("Mr. Brown isn't here.", "mister brown is not here", "en", 0.0),
        ("It costs twenty-one dollars.", "it costs $21", "en", 0.0),
        ("The colour of the sky", "the color of a sky", "en-US", 0.2),
        ("Ça va très bien, merci!", "ça va tres bien merci", "fr", 0.2),
        ("one two three four", "one two three four", None, 0.0),
        ("今日は晴れ", "今日は雨", "ja", 0.4),
        ("a b c d", "", "de", 1.0),
        ("a", "a b c", "de", 2.0),
        ("", "", "en", 0.0),
        ("[noise]", "hello", "en", 1.0),
    ],
)
def test_wer_after_whispers_normaliser(reference, hypothesis, language, wer):
    assert score(reference, hypothesis, language)[0] == pytest.approx(wer)


@given(st.text("ab cde'.,-", max_size=60), st.text("ab cde'.,-", max_size=60), st.sampled_from(["en", "de"]))
def test_equal_to_the_libraries_put_together(reference, hypothesis, language):
    normalise = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    expected, said = normalise(reference).strip(), normalise(hypothesis).strip()
    if not expected or not said:
        return
    assert score(reference, hypothesis, language) == pytest.approx(
        (jiwer.wer(expected, said), jiwer.cer(expected, said))
    )


def test_rates_are_pooled_not_averaged():
    both = compare("a b c d e f g h i j", "a b c d e f g h i j", "de") + compare("k", "x", "de")
    assert both.wer == pytest.approx(1 / 11)
    assert both.rows == 2


def test_kinds_of_errors():
    errors = compare("one two three four", "one too four five", "de")
    assert (errors.words, errors.word_errors) == (4, 3)
    assert (errors.characters, errors.character_errors) == (18, 9)


def test_slices_by_language_duration_node_and_backend(make):
    rows = [
        make.row("a", "red blue", reference="red blue", duration=3.0, node="n1"),
        make.row("b", "red x", reference="red blue", duration=40.0, node="n2", encoder_backend="hailo"),
        make.row("c", "eins", reference="zwei", language="de", duration=3.0),
        make.row("d", "no reference"),
        make.row("e", status="failed", reference="lost words"),
    ]
    found = Slices()
    for row in rows:
        found.add(row)
    assert found.total.wer == pytest.approx(4 / 7)
    assert found.groups["language"]["de"].wer == 1.0
    assert found.groups["duration"]["30 s-2 min"].wer == 0.5
    assert found.groups["node"]["n2"].wer == 0.5
    assert found.groups["backend"]["cpu"].wer == pytest.approx(3 / 5)
    assert found.failed == 1
    assert all(sum((e for e in group.values()), Errors()) == found.total for group in found.groups.values())


def test_a_rows_own_counts_are_taken(make):
    counts = {"reference_words": 7, "word_errors": 2, "reference_characters": 30, "character_errors": 3}
    row = make.row("a", "x", reference="y", **counts)
    assert errors_of(row) == Errors(7, 2, 30, 3, 1)
    assert errors_of(make.row("a", "x")) is None
    assert errors_of(make.row("a", "a b", reference="a c")) == Errors(2, 1, 3, 1, 1)


def test_every_duration_has_a_class():
    assert [duration_slice(s) for s in (0.0, 5.0, 29.9, 3600.0)] == [
        "under 5 s",
        "5-10 s",
        "10-30 s",
        "over 10 min",
    ]


def test_an_empty_reference_is_scored(make):
    slices = Slices()
    assert slices.add(make.row("a", "", status="empty", reference="")) == Errors(rows=1)


def test_the_libraries_are_imported_only_when_something_is_scored():
    code = (
        "import sys, asr_batch.jobs.quality as q; "
        "assert not {'jiwer', 'whisper_normalizer'} & set(sys.modules); q.score('a', 'b', 'en')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["en", "de", "ja", None]))
def test_no_text_is_too_odd_to_be_scored(reference, hypothesis, language):
    wer, cer = score(reference, hypothesis, language)
    assert wer >= 0.0
    assert cer >= 0.0
