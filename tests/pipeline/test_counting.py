"""A word said several times is written as often, whatever number the decoder makes up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, answered, row, speech_seconds

from asr_batch.models.recognizer import DecodeOptions, TimedText, WindowRequest, WindowResult
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome, without_loop
from asr_batch.pipeline.retry.counting import miscounted, recounted
from asr_batch.pipeline.retry.doubtful import Doubtful, bare
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.merging import Word
from asr_batch.pipeline.retry.repeating import by_utterance
from asr_batch.pipeline.text.repetition import rounds

Clips = list[tuple[str, np.ndarray]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8 8 8 8 8 8 8", ("8", 7)),
        ("3, 3, 3.", ("3", 3)),
        ("2020 2020", ("20", 4)),
        ("Try again. Try again.", ("tryagain", 2)),
        ("Try again. Try once.", ("tryagaintryonce", 1)),
        ("...", ("", 0)),
    ],
)
def test_rounds(text: str, expected: tuple[str, int]) -> None:
    assert rounds(text) == expected


def islands(count: int, pause: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Level and speech of utterances of 0.5 s, with pauses between them."""
    speech = np.tile(np.r_[np.ones(50, bool), np.zeros(pause, bool)], count)
    return np.where(speech, -20, -80).astype(np.float32), speech


@pytest.mark.parametrize(
    ("text", "said", "wrong"),
    [
        ("8 8 8 8 8 8 8", 5, True),
        ("8 8 8 8 8", 5, False),
        ("2020 2020 2020", 5, True),
        ("8 8 8", 1, False),  # without pauses nobody can tell
        ("This is said once.", 3, False),
    ],
)
def test_more_or_fewer_rounds_than_utterances(text: str, said: int, wrong: bool) -> None:
    assert miscounted(text, *islands(said)) == wrong


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("8 8 8 8 8", True),
        ("8 8 9 8 8", False),
        ("8 8 8 8 8 8 8 8", False),  # no nearer
    ],
)
def test_the_same_word_nearer_to_once_for_each_utterance(heard: str, expected: bool) -> None:
    words = [Word(TimedText(i, i + 0.5, text)) for i, text in enumerate(heard.split())]
    assert recounted(words, "8 8 8 8 8 8 8", *islands(5)) is expected


def test_a_word_said_five_times(save: Callable[..., Path], clips: Clips) -> None:
    clip = clips[0][1]
    part = clip[: next(n for n in range(RATE // 2, len(clip), 160) if speech_seconds(clip[:n]) > 0.4)]
    samples = np.tile(np.r_[part, np.zeros(RATE // 2, np.float32)], 5)

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, text="8 8 8 8 8 8 8" if len(request.samples) > 2 * RATE else "8")

    transcript = row(save(samples), FakeRecognizer(speak))
    assert transcript.text == "8 8 8 8 8"
    assert "recovered" in transcript.windows[0].flags


def test_a_word_written_twice_and_said_once(save: Callable[..., Path], clips: Clips) -> None:
    clip = clips[0][1]
    part = clip[: next(n for n in range(RATE // 2, len(clip), 160) if speech_seconds(clip[:n]) > 0.4)]
    samples = np.r_[np.zeros(RATE, np.float32), part, np.zeros(RATE, np.float32)]

    transcript = row(save(samples), FakeRecognizer(lambda _, result: replace(result, text="Eight. Eight.")))
    assert transcript.text == "Eight."
    assert [other.text for other in transcript.windows[0].hypotheses] == ["Eight. Eight."]


SENTENCE = "I am not sure that I can see the rest of it. "


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("So it is. " + 5 * SENTENCE, "So it is. " + SENTENCE),
        ("Well. " + 6 * "try again ", "Well. try again"),
        (3 * SENTENCE + "There.", 3 * SENTENCE + "There."),  # said three times
    ],
)
def test_a_loop_is_cut_where_it_begins(text: str, left: str) -> None:
    assert without_loop(WindowResult("", text.strip(), (), -0.3, 0.1)).text == left.strip()


@pytest.mark.parametrize(
    ("heard", "left"),
    [
        (
            ["See the fact", "ball at a basket", "finally I will"],
            "I have a lot of fun,",
        ),  # the decoder's loop
        (["I have a lot of fun"] * 3, "I have a lot of fun " * 3),  # it was said so
    ],
)
def test_a_loop_of_the_decoder_alone_is_cut(heard: list[str], left: str) -> None:
    speech = np.tile(np.r_[np.ones(200, bool), np.zeros(60, bool)], 3)
    level, text = np.where(speech, -20, -80).astype(np.float32), ("I have a lot of fun, " * 4).strip()
    flags = frozenset({"repetition"})
    window = Doubtful(0, Outcome(WindowResult("", text, (), -0.3, 0.1), flags), level, speech, ~speech)
    listener = Listener(DecodeOptions(language="en"), PipelineOptions(), second=False, longest=30.0)
    samples = np.zeros(len(level) * RATE // 100, np.float32)
    answers = [WindowResult("", words, tuple(range(5)), -0.9, 0.1) for words in heard]
    found, _ = answered(by_utterance(window, samples, listener), *answers)
    assert found.outcome.result.text == left.strip()


def test_a_text_does_not_stand_for_speech_of_twice_its_length() -> None:
    text = "I am not sure if I can see it, but I am not sure if I can see the rest of it."
    outcome = Outcome(WindowResult("", text, (), -0.3, 0.1))
    assert bare(outcome, 25.0)
    assert not bare(outcome, 8.0)
