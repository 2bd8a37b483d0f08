"""Properties of the planners and the stitcher, over random recordings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_batch.models.recognizer import TimedText
from asr_batch.pipeline.audio.frames import FRAME, Measured, regular
from asr_batch.pipeline.text.stitching import REACH, find_seam, meet
from asr_batch.pipeline.text.words import join_texts, words_between, words_of
from asr_batch.pipeline.windows.planning import Window, plan

ENVELOPE = st.lists(
    st.tuples(st.floats(0.02, 9.0), st.floats(-110, -5), st.floats(0, 1)), min_size=1, max_size=25
)


def measured(envelope: list[tuple[float, float, float]], tail: int) -> Measured:
    """Stretches of (seconds, dBFS, speech probability) as one measured recording with a ragged end."""
    frames = [max(1, round(seconds * 100)) for seconds, _, _ in envelope]
    level = np.repeat([step[1] for step in envelope], frames).astype(np.float32)
    speech = np.repeat([step[2] for step in envelope], frames).astype(np.float32)
    level += np.random.default_rng(len(level)).normal(0, 2, len(level)).astype(np.float32)
    samples = np.arange(len(level) * FRAME - tail, dtype=np.float32)
    return Measured(samples, level, speech)


def chopped(whole: Measured, frames: int) -> list[Measured]:
    """The same in stretches of so many frames."""
    return [
        Measured(
            whole.samples[at * FRAME : (at + frames) * FRAME],
            whole.level[at : at + frames],
            whole.speech[at : at + frames],
        )
        for at in range(0, len(whole.level), frames)
    ]


def facts(windows: list[Window]) -> list[tuple[int, int, str]]:
    return [(window.start, window.end, window.cut) for window in windows]


@settings(max_examples=60, deadline=None)
@given(
    ENVELOPE,
    st.integers(0, FRAME - 1),
    st.sampled_from([5.0, 10.0, 30.0]),
    st.sampled_from(["silence", "stride", "plain"]),
)
def test_windows_tile_and_never_exceed_the_model(
    envelope: list, tail: int, window: float, planner: str
) -> None:
    whole = measured(envelope, tail)
    windows = list(plan([whole], window, planner))  # type: ignore[arg-type]
    assert windows[0].start == 0
    assert windows[-1].end == len(whole.samples)
    assert [w.index for w in windows] == list(range(len(windows)))
    for left, right in pairwise(windows):
        assert left.start < right.start < right.end
        assert right.start == left.end or (left.cut == "forced" and right.start < left.end < right.end)
    for part in windows:
        assert 0 < len(part.samples) == part.end - part.start <= window * 16000
        assert part.samples[0] == part.start  # the samples are those of the place
        assert len(part.level) == len(part.speech) == -(-len(part.samples) // FRAME)
    if len(whole.samples) <= window * 16000:
        assert len(windows) == 1


@settings(max_examples=30, deadline=None)
@given(ENVELOPE, st.integers(0, FRAME - 1), st.integers(1, 700), st.sampled_from(["silence", "stride"]))
def test_the_plan_does_not_depend_on_how_the_file_is_read(
    envelope: list, tail: int, step: int, planner: str
) -> None:
    whole = measured(envelope, tail)
    assert facts(list(plan(chopped(whole, step), 10.0, planner))) == facts(list(plan([whole], 10.0, planner)))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 64))
def test_regular_blocks_hold_the_same_samples(lengths: list[int], size: int) -> None:
    blocks = [np.full(length, place, np.float32) for place, length in enumerate(lengths)]
    out = list(regular(blocks, size))
    assert all(len(block) == size for block in out[:-1])
    assert all(len(block) for block in out)
    expected = np.concatenate([np.zeros(0), *blocks])
    np.testing.assert_array_equal(np.concatenate([np.zeros(0), *out]), expected)


def test_a_cut_lies_in_the_longest_pause() -> None:
    steps = [(6.0, -20, 0.9), (0.3, -70, 0.1), (1.5, -20, 0.9), (0.9, -70, 0.1), (8.0, -20, 0.9)]
    windows = list(plan([measured(steps, 0)], 10.0))
    assert windows[0].cut == "silence"
    assert 7.8 * 16000 < windows[0].end < 8.7 * 16000


def test_speech_without_a_pause_is_cut_with_overlap() -> None:
    windows = list(plan([measured([(40.0, -20, 0.95)], 0)], 10.0))
    assert {window.cut for window in windows[:-1]} == {"forced"}
    for left, right in pairwise(windows):
        assert 0.9 * 16000 <= left.end - right.start <= 2.2 * 16000


def test_a_window_behind_a_forced_cut_goes_on_behind_what_it_shares() -> None:
    steps = [(12.0, -80, 0.0), (3.0, -20, 0.9)]
    for lead in (8.0, 8.4, 8.8, 9.2, 9.6):
        windows = list(plan([measured([(lead, -20, 0.95), *steps], 0)], 5.0))
        assert all(left.end < right.end for left, right in pairwise(windows))
        assert any(window.cut == "forced" for window in windows)


def test_no_silence_is_taken_from_the_inside_and_long_rests_stand_alone() -> None:
    steps = [
        (2.0, -20, 0.9),
        (1.0, -80, 0.0),
        (2.0, -20, 0.9),
        (20.0, -80, 0.0),
        (2.0, -20, 0.9),
        (5.0, -80, 0.0),
    ]
    windows = list(plan([measured(steps, 0)], 10.0))
    speaking = [window for window in windows if (window.speech > 0.5).any()]
    assert [(w.start < 0.1 * 16000, w.end > 4.9 * 16000) for w in speaking[:1]] == [(True, True)]
    assert len(speaking) == 2
    assert len(speaking[1].samples) < 4 * 16000


VOCABULARY = ("a", "the", "cat", "sat", "that", "mat", "had", "house", "bridge", "seven", "seventeen", "of")
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=14)


@settings(max_examples=300)
@given(WORDS, WORDS, st.integers(0, 8))
def test_the_stitcher_never_drops_a_word_without_a_twin(
    left: list[str], right: list[str], shared: int
) -> None:
    right = left[len(left) - min(shared, len(left)) :] + right
    seam = find_seam(left, right)
    kept_left, kept_right = left[: len(left) - seam.drop_left], right[seam.drop_right :]
    if not seam.sure:
        assert (seam.drop_left, seam.drop_right) == (0, 0)
        return
    dropped_right = right[: seam.drop_right]
    # All that goes from the right stands at the end of the left, but for one word at the very edge.
    twins = (
        dropped_right[1:]
        if dropped_right and dropped_right != kept_left[-len(dropped_right) :]
        else dropped_right
    )
    assert twins == kept_left[len(kept_left) - len(twins) :]
    assert seam.drop_left <= 1
    assert seam.drop_right <= REACH
    assert kept_left + kept_right or not (left + right)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("we met on the old bridge", "the old bridge and the", "we met on the old bridge and the"),
        ("he said that that", "that that house is", "he said that that house is"),
        ("he said that that", "that house is", "he said that that house is"),
        ("one two thr", "two three four", "one two three four"),
        ("four five", "our five six", "four five six"),
        ("nothing in common", "with these words", "nothing in common with these words"),
        ("Seven, seven.", "Seven. Eight", "Seven, seven. Eight"),
        ("", "all of it", "all of it"),
    ],
)  # fmt: skip
def test_seams(left: str, right: str, expected: str) -> None:
    one, two = left.split(), right.split()
    seam = find_seam(one, two)
    assert " ".join(one[: len(one) - seam.drop_left] + two[seam.drop_right :]) == expected


def timed(text: str, start: float) -> list[TimedText]:
    """Words of 0.3 s, one after the other."""
    return [TimedText(start + 0.3 * i, start + 0.3 * (i + 1), word) for i, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("left", "right", "start", "expected"),
    [
        ("we met on the old bridge", "old bridge and the", 1.2, "we met on the old bridge and the"),
        # Heard differently by the two windows, or torn at both edges.
        ("the Asterisk cons", "on the Astros console. You have", -0.3, "the Astros console. You have"),
        ("conferences exist. can grad", "exist. Congratulations! You", 0.3, "exist. Congratulations! You"),
        ("nine nine nine", "nine nine five", 0.3, "nine nine nine five"),  # not more often than it was said
        ("nine nine nine", "nine nine five", 0.6, "nine nine nine nine five"),
    ],
)  # fmt: skip
def test_texts_meet_where_their_words_do(left: str, right: str, start: float, expected: str) -> None:
    one, two = timed(left, 0.0), timed(right, start)
    seam = meet(one, two, (start, one[-1].end))
    kept = [word.text for word in one[: len(one) - seam.drop_left] + two[seam.drop_right :]]
    assert " ".join(kept).endswith(expected)
    assert seam.sure
    assert seam.at is not None
    assert start <= seam.at <= one[-1].end


def test_texts_that_do_not_fit_together() -> None:
    one, two = timed("all of this was said", 0.0), timed("and nothing of it", 4.0)
    seam = meet(one, two, (0.9, 2.4))
    assert not seam.sure


@settings(max_examples=200)
@given(WORDS.filter(bool), WORDS.filter(bool), st.floats(-3, 6))
def test_words_keep_their_order_where_texts_meet(left: list[str], right: list[str], start: float) -> None:
    one, two = timed(" ".join(left), 0.0), timed(" ".join(right), start)
    seam = meet(one, two, (start, one[-1].end))
    assert 0 <= seam.drop_left <= min(REACH, len(one))
    assert 0 <= seam.drop_right <= min(REACH, len(two))


def test_scripts_without_blanks() -> None:
    assert words_of("今日は good") == ["今", "日", "は", "good"]
    assert words_between("今日は good", 1, 4) == "日は good"
    assert join_texts(["今日は", "いい天気"]) == "今日はいい天気"
    assert join_texts(["one ", "", " two"]) == "one two"
