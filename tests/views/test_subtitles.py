from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_batch.jobs.views.subtitles import LONGEST, PAUSE, cues
from asr_batch.jobs.views.timed_text import LINE, clean, display_width, split

SENTENCES = (
    " Write nine thousand six hundred and sixty-two in the heavy castle, please. And then, when the morning"
    " comes, we shall walk over the hills."
)


def text_of(made):
    return " ".join(" ".join(cue.lines) for cue in made)


def check_limits(made, line=LINE):
    for cue in made:
        assert 1 <= len(cue.lines) <= 2
        assert all(display_width(text) <= line for text in cue.lines)
        assert cue.end > cue.start >= 0
        assert cue.end - cue.start <= LONGEST + 1e-9
    for before, after in pairwise(made):
        assert after.start >= before.end - 1e-9


def test_speech_at_a_normal_pace_is_readable(make):
    made = cues(make.row("a", SENTENCES, duration=9.5))
    check_limits(made)
    assert text_of(made) == clean(SENTENCES)
    assert all(cue.speed <= 17.01 for cue in made)
    assert made[0].lines[-1].endswith("please.")


def test_short_cue_stays_long_enough_to_be_read(make):
    segments = [make.segment(1.0, 1.2, "Yes."), make.segment(5.0, 5.1, "No, not at all, never.")]
    made = cues(make.row("a", segments=segments, duration=8.0))
    assert [cue.end - cue.start >= 0.99 for cue in made] == [True, True]
    assert [cue.start for cue in made] == [1.0, 5.0]


def test_no_cue_goes_over_a_pause_or_beyond_the_audio(make):
    segments = [make.segment(0.0, 1.0, "One here"), make.segment(1.0 + PAUSE, 3.0, "and one there")]
    made = cues(make.row("a", segments=segments, duration=3.0))
    assert [cue.lines for cue in made] == [("One here",), ("and one there",)]
    assert made[-1].end <= 3.0 + 1e-9


def test_word_times_are_used_when_they_spell_the_text(make):
    words = [
        {"start": 0.5, "end": 0.9, "word": " Hello", "prob": 0.9},
        {"start": 3.0, "end": 3.4, "word": " there.", "prob": 0.9},
    ]
    made = cues(make.row("a", "Hello there.", words=words, duration=5.0))
    assert [(cue.start, cue.lines) for cue in made] == [(0.5, ("Hello",)), (3.0, ("there.",))]
    words[0]["word"] = " Goodbye"
    made = cues(make.row("a", "Hello there.", words=words, duration=5.0))
    assert [cue.lines for cue in made] == [("Hello there.",)]


def test_fast_speech_borrows_time_from_the_silence_around(make):
    segments = [make.segment(2.0, 3.0, "This is a great deal of text in one second.")]
    (cue,) = cues(make.row("a", segments=segments, duration=10.0))
    assert 1.5 <= cue.start <= 2.0
    assert cue.speed <= 17.5


def test_wide_letters_count_twice_and_break_anywhere_but_before_punctuation(make):
    text = "東京都は日本の首都です。人口は約千四百万人で、世界最大の都市圏の一つです。とても大きいです。"
    made = cues(make.row("a", text, duration=12.0))
    check_limits(made)
    assert "".join("".join(cue.lines) for cue in made) == text
    assert not [line for cue in made for line in cue.lines if line[0] in "。、"]
    assert max(display_width(line) for cue in made for line in cue.lines) > LINE / 2


def test_channels_are_told_apart(make):
    segments = [make.segment(0.0, 2.0, "Hello?", 0), make.segment(1.0, 3.0, "Yes?", 1)]
    made = cues(make.row("a", segments=segments, duration=4.0))
    assert [(cue.channel, cue.lines) for cue in made] == [(0, ("Hello?",)), (1, ("Yes?",))]


def test_row_without_segments_or_text(make):
    assert cues(make.row("a", "", status="empty")) == []
    assert len(cues(make.row("a", "Only text.", segments=None))) == 1


def test_one_endless_word_is_broken(make):
    made = cues(make.row("a", "x" * 300, duration=30.0))
    check_limits(made)
    assert "".join("".join(cue.lines) for cue in made) == "x" * 300


def test_pieces_spell_the_text():
    for text in ("plain words here", "混ぜた text です。 и ещё", "a" * 100, "क्षत्रिय नमस्ते", "👩‍👩‍👧 ok"):
        parts = enumerate(split(text))
        spelled = "".join(" " * (n > 0 and not glued) + part for n, (part, glued) in parts)
        assert spelled == text


words_ = st.text(st.sampled_from("abcdefgh,.!?東京é"), min_size=1, max_size=50)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.floats(0, 20), st.lists(words_, max_size=40), st.sampled_from([-1, 0])),
        max_size=6,
    )
)
def test_limits_hold_for_anything(make_segments):
    at, segments = 0.0, []
    for gap, length, words, _ in make_segments:
        segments.append({"start": at + gap, "end": at + gap + length, "text": " ".join(words), "channel": -1})
        at += gap + length
    made = cues({"segments": segments, "duration": at})
    check_limits(made)
    said = "".join(clean(segment["text"]) for segment in segments)
    assert "".join("".join(cue.lines) for cue in made).replace(" ", "") == said.replace(" ", "")


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_segments_on_top_of_each_other(make, end):
    segments = [make.segment(0.0, end, f"Number {n}.") for n in range(5)]
    check_limits(cues(make.row("a", segments=segments, duration=end)))
