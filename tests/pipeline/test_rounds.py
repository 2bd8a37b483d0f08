"""What is said again and again is found by its sound, at another pace, level and in noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, answered, row, speech_seconds

from asr_batch.models.recognizer import DecodeOptions, TimedText, WindowRequest, WindowResult
from asr_batch.pipeline.audio.frames import levels
from asr_batch.pipeline.audio.rounds import distances, rounds
from asr_batch.pipeline.choice import Choice
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.retry.agreement import agreed
from asr_batch.pipeline.retry.counting import alike, parts
from asr_batch.pipeline.retry.doubtful import Doubtful
from asr_batch.pipeline.retry.hearing import Hearing, Listener, Part, together
from asr_batch.pipeline.retry.merging import Word
from asr_batch.pipeline.retry.repeating import by_sound
from asr_batch.pipeline.text.repetition import repeats

Clips = list[tuple[str, np.ndarray]]


def said_again(clip: np.ndarray, times: int, spread: float, noise: float) -> tuple[np.ndarray, list[float]]:
    """The clip several times without a pause, each at its own pace and level, and the seams (s)."""
    loud = np.flatnonzero(np.abs(clip) > 0.01)
    clip = clip[loud[0] : loud[-1]]
    rng, takes = np.random.default_rng(3), []
    for _ in range(times):
        places = np.arange(0, len(clip) - 1, rng.uniform(1 - spread, 1 + spread))
        takes.append(np.interp(places, np.arange(len(clip)), clip) * 10 ** (rng.uniform(-3, 3) / 20))
    samples = np.concatenate(takes)
    samples += rng.normal(0, np.sqrt(np.mean(samples**2)) * 10 ** (-noise / 20), len(samples))
    return samples.astype(np.float32), (np.cumsum([len(take) for take in takes])[:-1] / RATE).tolist()


@pytest.mark.parametrize(("spread", "noise"), [(0.0, 80.0), (0.05, 30.0), (0.05, 20.0)])
def test_seams_are_found(spread: float, noise: float, clips: Clips) -> None:
    missed = total = 0
    for _, clip in clips[:6]:
        samples, seams = said_again(clip, 4, spread, noise)
        edges = np.array(rounds(samples, levels(samples))) / 100
        missed += sum(np.abs(edges - seam).min() > 0.15 for seam in seams)
        total += len(seams)
    assert missed <= total / 6


def babble(syllables: int, seed: int) -> np.ndarray:
    """Syllables of 0.2 s, each noise in another band."""
    rng, shape, parts = np.random.default_rng(seed), 0.2 + 0.8 * np.hanning(RATE // 5), []
    for _ in range(syllables):
        low = rng.uniform(100, 3000)
        spectrum = np.fft.rfft(rng.normal(0, 1, RATE // 5))
        hertz = np.fft.rfftfreq(RATE // 5, 1 / RATE)
        band = (hertz > low) & (hertz < low * rng.uniform(1.2, 2.5))
        parts.append(np.fft.irfft(spectrum * band) * shape)
    return (0.3 * np.concatenate(parts)).astype(np.float32)


def test_nothing_is_found_where_nothing_is_said_twice() -> None:
    samples = babble(100, 1)
    assert rounds(samples, levels(samples)) == [0, len(levels(samples))]
    for nothing in (np.zeros(RATE, np.float32), np.zeros(0, np.float32), samples[:700]):
        assert rounds(nothing, levels(nothing)) == [0, len(levels(nothing))]


def test_rounds_between_other_speech(clips: Clips) -> None:
    samples, seams = said_again(clips[4][1], 3, 0.03, 40.0)
    before, pause = clips[1][1], np.zeros(RATE // 4, np.float32)
    both = np.concatenate([before, pause, samples, pause, clips[9][1]])
    edges = np.array(rounds(both, levels(both))) / 100
    start = (len(before) + len(pause)) / RATE
    assert all(np.abs(edges - start - seam).min() < 0.15 for seam in seams)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Try again. Try again.", True),
        ("One moment please. Try again. Try again. Try again. Try", True),
        ("8 8", True),
        ("Press one, then press two.", False),
        ("It is very, very far from here to there.", False),
        ("", False),
    ],
)
def test_a_text_that_repeats_itself(text: str, expected: bool) -> None:
    assert repeats(text) == expected


def test_parts_without_a_word_join_their_neighbours() -> None:
    speech = np.r_[np.zeros(20, bool), np.ones(280, bool)]
    assert parts([0, 15, 100, 110, 200, 290, 300], speech) == [0, 100, 200, 300]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["try again", "try again", "tri again"], [(0, 100), (100, 200), (200, 300)]),
        (["well", "try again", "try again"], [(100, 200), (200, 300)]),
        (["", "", ""], []),
        (["four", "four", "four four four"], [(0, 100), (100, 200), (200, 300)]),
    ],
)
def test_parts_that_say_the_same(texts: list[str], expected: list[tuple[int, int]]) -> None:
    words = [Word(TimedText(at, at + 0.5, word)) for at, text in enumerate(texts) for word in text.split()]
    assert alike(words, [0, 100, 200, 300]) == expected


@pytest.mark.parametrize("first", ["Please try again.", "Please try again. " * 7])
def test_a_sentence_said_four_times_without_a_pause(
    first: str, save: Callable[..., Path], clips: Clips
) -> None:
    clip = next(clip for _, clip in clips if len(clip) < 2.4 * RATE)
    samples, _ = said_again(clip, 4, 0.03, 40.0)

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        alone = speech_seconds(request.samples) < 1.3 * len(clip) / RATE
        text = "Please try again." if alone else first.strip()
        words, end = text.split(), len(request.samples) / RATE
        starts = [0.4 * place * min(1.0, end / (0.4 * len(words))) for place in range(len(words))]
        places = [TimedText(*two, word) for two, word in zip(pairwise([*starts, end]), words, strict=True)]
        return replace(result, text=text, tokens=tuple(range(len(words))), places=tuple(places))

    transcript = row(save(samples), FakeRecognizer(speak))
    assert transcript.text.split() == ["Please", "try", "again."] * 4
    assert transcript.status == "ok"


def takes(clip: np.ndarray, times: int) -> tuple[np.ndarray, list[int]]:
    """The clip said again, and the frames (10 ms) where its rounds begin and end."""
    samples, seams = said_again(clip, times, 0.03, 40.0)
    return samples, [0, *(round(100 * seam) for seam in seams), len(levels(samples))]


def test_the_sound_of_other_words_is_farther_away(clips: Clips) -> None:
    samples, edges = takes(clips[4][1], 3)
    both = np.concatenate([samples, clips[9][1]])
    apart = distances(both, [*edges, len(levels(both))], 1)
    assert max(apart[:3]) < 0.4 < apart[3]
    assert len(distances(samples, edges, 2)) == 3  # the last one ends with the samples
    assert distances(samples, edges, 2)[2] == pytest.approx(0, abs=1e-6)


def decoded(edges: list[int], *said: tuple[str, float]) -> Hearing:
    """Rounds with these texts and log-probabilities."""
    found = []
    for (start, end), (text, likely) in zip(pairwise(edges), said, strict=True):
        words, step = text.split(), (end - start) / 100 / max(1, len(text.split()))
        first = start / 100
        places = [TimedText(first + step * i, first + step * (i + 1), word) for i, word in enumerate(words)]
        result = WindowResult("", text, tuple(range(len(words))), likely, 0.1, places=tuple(places[:1]))
        found.append(Part(start, end, result, tuple(map(Word, places)), frozenset()))
    return together(found)


def test_a_misheard_round_says_what_the_others_say(clips: Clips) -> None:
    samples, edges = takes(clips[4][1], 4)
    usual = ("Radio USB", -0.3)
    hearing = agreed(decoded(edges, usual, ("Par a d'y USD B.", -0.8), usual, usual), samples)
    assert [part.result.text for part in hearing.parts] == ["Radio USB"] * 4
    assert [word.place.text for word in hearing.words] == ["Radio", "USB"] * 4
    assert hearing.words[2].place.start == pytest.approx(edges[1] / 100)
    assert hearing.words[3].place.end == pytest.approx(edges[2] / 100)
    assert hearing.parts[1].result.avg_logprob == -0.8


@pytest.mark.parametrize(
    "said",
    [
        [("one", -0.3), ("two", -0.35), ("one", -0.3), ("one", -0.3)],  # as likely: another word
        [("one", -0.3), ("two", -0.9), ("three", -0.3), ("one", -0.3)],  # two do not agree on it
        [("one", -0.3), ("", -2.0), ("one", -0.3), ("one", -0.3)],  # nothing was heard
        [("one", -0.3)] * 4,
        [("", -0.3)] * 4,
    ],
)
def test_a_round_keeps_its_text(said: list[tuple[str, float]], clips: Clips) -> None:
    samples, edges = takes(clips[4][1], 4)
    assert agreed(decoded(edges, *said), samples) == decoded(edges, *said)


def test_another_sound_keeps_its_text(clips: Clips) -> None:
    samples, edges = takes(clips[4][1], 3)
    both = np.concatenate([samples, clips[9][1]])
    said = [("try again", -0.3)] * 3 + [("goodbye", -0.9)]
    hearing = decoded([*edges, len(levels(both))], *said)
    assert agreed(hearing, both) == hearing


def test_places_are_known_although_nothing_is_heard_first() -> None:
    assert decoded([0, 100, 200], ("", -0.3), ("one", -0.3)).result.places


@pytest.mark.parametrize(("until", "confirmed"), [(1.0, True), (0.3, False)])
def test_a_round_that_is_half_heard_is_not_confirmed(until: float, confirmed: bool, clips: Clips) -> None:
    clip = next(clip for _, clip in clips if len(clip) > 2 * RATE)
    samples, _ = takes(clip, 4)
    level, text = levels(samples), "Please enter the number of your extension again."
    speech = np.ones(len(level), bool)
    first = Outcome(WindowResult("", "Please try again.", (1, 2, 3), -0.3, 0.1), frozenset({"truncated"}))
    window = Doubtful(0, first, level, speech, np.zeros(len(level), bool))
    edges = parts(rounds(samples, level), speech)

    def answer(seconds: float) -> WindowResult:
        words = text.split()
        step = until * seconds / len(words)
        places = tuple(TimedText(step * i, step * (i + 1), word) for i, word in enumerate(words))
        return WindowResult("", text, tuple(range(5)), -0.3, 0.1, places=places)

    choice = Choice("fr")  # of the row, which another window may be in
    listener = Listener(DecodeOptions(language="en"), PipelineOptions(), False, 30.0, choice)
    answers = [answer((end - start) / 100) for start, end in pairwise(edges)]
    found, asked = answered(by_sound(window, samples, listener), *answers)
    assert {request.options.language for request in asked} == {"en"}
    assert found.outcome.result.text == " ".join([text] * len(answers))
    assert bool(found.confirmed) == confirmed


@pytest.mark.parametrize(
    ("phrase", "times", "taken"),
    [("Please enter the numbers again now.", 3, True), ("Please open it once again.", 4, False)],
)
def test_another_phrase_said_another_number_of_times_gives_way_to_the_rounds(
    phrase: str, times: int, taken: bool, clips: Clips
) -> None:
    """Both texts have about as many letters; the rounds tell how often something is said."""
    clip = next(clip for _, clip in clips if len(clip) > 2 * RATE)
    samples, _ = takes(clip, 4)
    level = levels(samples)
    edges = parts(rounds(samples, level), np.ones(len(level), bool))
    written, heard = " ".join([phrase] * times), "Please enter it once again."

    def said(text: str, seconds: float) -> WindowResult:
        words = text.split()
        step = seconds / len(words)
        places = tuple(TimedText(step * i, step * (i + 1), word) for i, word in enumerate(words))
        return WindowResult("", text, tuple(range(5)), -0.3, 0.1, places=places)

    first = Outcome(said(written, len(level) / 100))
    window = Doubtful(0, first, level, np.ones(len(level), bool), np.zeros(len(level), bool))
    listener = Listener(DecodeOptions(language="en"), PipelineOptions(), False, 30.0)
    answers = [said(heard, (end - start) / 100) for start, end in pairwise(edges)]
    found, _ = answered(by_sound(window, samples, listener), *answers)
    assert found.outcome.result.text == (" ".join([heard] * 4) if taken else written)
