"""Neighbouring windows with unlikely texts are decoded together; the more likely texts win."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, joined, row

from asr_batch.models.recognizer import SAMPLE_RATE, TimedText, WindowRequest, WindowResult
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.retry.widening import groups, is_better
from asr_batch.pipeline.thresholds import UNLIKELY, UNLIKELY_BESIDE

Clips = list[tuple[str, np.ndarray]]
Save = Callable[..., Path]
LONGEST = 30.0
POOR = UNLIKELY - 0.01
UNSURE = UNLIKELY_BESIDE - 0.01
SURE = UNLIKELY_BESIDE


def result(text: str, logprob: float, language: str = "en") -> WindowResult:
    words = text.split()
    places = tuple(TimedText(i / 2, (i + 1) / 2, word) for i, word in enumerate(words))
    return WindowResult("", text, tuple(range(len(words))), logprob, 0.0, language=language, places=places)


def windows(*told: float | str | None, seconds: float = 8.0) -> list[DecodedWindow]:
    """Neighbours with texts of these log-probabilities; None: skipped; a language: that of a poor text."""
    found, frames = [], round(seconds * 100)
    for index, one in enumerate(told):
        start, end = (round((index + i) * seconds * SAMPLE_RATE) for i in (0, 1))
        level, speech = np.full(frames, -20, np.float16), np.ones(frames, np.float16)
        window = DecodedWindow(index, start, end, "silence", level, speech)
        logprob, language = (POOR, one) if isinstance(one, str) else (one, "en")
        if logprob is not None:
            window.outcome = Outcome(result("one two three four five six", logprob, language))
        found.append(window)
    return found


def grouped(some: list[DecodedWindow], longest: float = LONGEST) -> list[list[int]]:
    return [[window.index for window in group] for group in groups(some, longest)]


def test_neighbours_of_an_unlikely_text_without_a_sure_one_are_decoded_together() -> None:
    assert grouped(windows(SURE, UNSURE, POOR, UNSURE, SURE, UNSURE, UNSURE)) == [[1, 2, 3]]


def test_a_single_unlikely_text_has_nobody_to_be_decoded_with() -> None:
    assert grouped(windows(SURE, POOR, SURE, POOR)) == []


def test_groups_are_about_equally_long() -> None:
    assert grouped(windows(*[POOR] * 4)) == [[0, 1], [2, 3]]
    assert grouped(windows(*[POOR] * 7)) == [[0, 1, 2], [3, 4, 5]]  # the seventh stays alone
    assert grouped(windows(*[POOR] * 4, seconds=16.0)) == []


def test_a_group_is_in_one_language_and_without_silence_or_overlap() -> None:
    assert grouped(windows("ru", "ru", "uk", "uk")) == [[0, 1], [2, 3]]
    assert grouped(windows(POOR, POOR, None, POOR)) == [[0, 1]]
    some = windows(POOR, POOR, POOR)
    some[1].start -= SAMPLE_RATE
    assert grouped(some) == [[1, 2]]


def test_the_more_likely_text_wins_if_it_is_about_as_long() -> None:
    apart = result("one two three four", -0.5)
    assert is_better(apart, Outcome(result("one two tree for", -0.4)))
    assert not is_better(apart, Outcome(result("one two tree for", -0.6)))
    assert not is_better(apart, Outcome(result("one two", -0.1)))
    assert not is_better(apart, Outcome(result("one two three four one two three four", -0.1)))
    assert not is_better(apart, Outcome(result("one two tree for", -0.4), frozenset({"repetition"})))


def unlikely_alone(request: WindowRequest, said: WindowResult) -> WindowResult:
    """Texts of windows beyond 10 s are likely, others are not."""
    alone = len(request.samples) <= 10 * RATE
    made = np.random.default_rng(len(request.samples))
    text = " ".join("".join(made.choice(list("abcdefgh"), 5)) for _ in said.text.split())
    return replace(said, text=text, avg_logprob=POOR if alone else -0.1)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_row_keeps_the_wider_windows(save: Save, clips: Clips, shuffled: bool) -> None:
    path = save(joined(clips * 3, 0.3))
    recognizer = FakeRecognizer(unlikely_alone, longest=LONGEST, shuffled=shuffled, batch=8)
    transcript = row(path, recognizer)
    check_tiling(transcript, 0.0, transcript.duration)
    lengths = [window.end - window.start for window in transcript.windows]
    assert 10 < max(lengths) <= LONGEST
    assert [window.index for window in transcript.windows] == list(range(len(lengths)))
    wide = next(window for window in transcript.windows if window.end - window.start > 10)
    assert "recovered" in wide.flags
    assert "apart" in {other.source for other in wide.hypotheses}
    again = [one for one in recognizer.requests if len(one.samples) > 10 * RATE]
    assert again
    assert all(one.options.cpu_encoder for one in again)
    plain = row(path, FakeRecognizer(unlikely_alone, longest=LONGEST, batch=1))
    assert plain.windows == transcript.windows


@pytest.mark.parametrize(
    ("longest", "options", "poor"),
    [
        (0.0, PipelineOptions(), True),  # no encoder for longer windows
        (10.0, PipelineOptions(), True),
        (LONGEST, PipelineOptions(repair_budget=0.0), True),
        (LONGEST, PipelineOptions(), False),
    ],
)
def test_windows_stay_as_they_are(
    save: Save, clips: Clips, longest: float, options: PipelineOptions, poor: bool
) -> None:
    recognizer = FakeRecognizer(unlikely_alone if poor else None, longest=longest)
    transcript = row(save(joined(clips * 3, 0.3)), recognizer, options)
    assert len(transcript.windows) > 2
    assert all(window.end - window.start <= 10 for window in transcript.windows)
    assert all(len(one.samples) <= 10 * RATE for one in recognizer.requests)
