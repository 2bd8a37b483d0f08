"""Speech that no word stands for: found by the words' times, put back without losing a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_lab import joined, row

from asr_batch.models.recognizer import Recognizer, TimedText, WindowRequest, WindowResult
from asr_batch.pipeline.audio.frames import median
from asr_batch.pipeline.audio.syllables import nuclei
from asr_batch.pipeline.retry.gaps import bare_stretches, find_gaps, missing
from asr_batch.pipeline.retry.merging import Word, merged
from asr_batch.pipeline.text.spoken import spoken_letters
from asr_batch.pipeline.text.words import normal_words
from asr_batch.pipeline.thresholds import GAP, LINGERING, SUSPECTED
from asr_batch.pipeline.windows.utterances import utterances

WORDS = tuple(
    TimedText(start, end, text)
    for start, end, text in (
        (0.0, 0.3, "we"),
        (0.3, 0.7, "met"),
        (0.7, 3.9, "Thursday."),
        (3.9, 4.4, "Julia"),
        (4.4, 5.0, "left"),
    )
)
LEVEL = np.full(500, -20, np.float32)
SPEECH = np.ones(500, bool)


def test_a_word_that_lasts_too_long_is_a_gap() -> None:
    before = [TimedText(0.5 * i, 0.5 * (i + 1), "seven") for i in range(4)]
    words = [*before, *(TimedText(word.start + 2, word.end + 2, word.text) for word in WORDS)]
    level = np.full(700, -20, np.float32)
    level[345:355] = -70  # the pause behind "Thursday."
    level[580:586] = -70  # and before "Julia"
    (gap,) = find_gaps(words, np.ones(700, bool), np.zeros(700, bool), level, GAP)
    assert (gap.first, gap.last) == (7, 7)  # none of the words lies between the pauses
    assert 345 <= gap.start <= 355
    assert 580 <= gap.end <= 586


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_medians_are_those_of_numpy(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    assert median(values.tolist()) == np.median(values)


def test_a_pause_is_no_gap() -> None:
    speech = SPEECH.copy()
    speech[140:385] = False
    assert find_gaps(WORDS, speech, ~SPEECH, LEVEL, GAP) == []


@pytest.mark.parametrize(
    ("written", "letters"),
    [
        ("seven", 5),
        ("1234", 20),
        ("28.8", 19),
        ("www.asterisk.org", 40),
        ("www", 21),
        ("wwwhat.", 6),
        ("PBX", 9),
        ("M-I-S-D-N.", 25),
        ("U", 3),
        ("don't", 4),
        ("I'm", 2),
    ],
)
def test_what_is_written_short_is_spoken_long(written: str, letters: int) -> None:
    assert spoken_letters(written) == letters


@pytest.mark.parametrize(
    ("standing", "heard", "expected"),
    [
        ("Thursday. Julia", "Thursday, five four one. Julia", "Thursday. five four one. Julia"),
        (
            "Thursday. Julia",
            "five four one.",
            "Thursday. Julia",
        ),  # nothing in common: as much is said already
        ("", "five four one.", "five four one."),
        ("goodbye", "goodbye goodbye goodbye", "goodbye goodbye goodbye"),
        ("met her", "", "met her"),
    ],
)
def test_two_hearings_of_a_stretch_lose_nothing(standing: str, heard: str, expected: str) -> None:
    def words(text: str) -> list[Word]:
        return [Word(TimedText(9.0 * i, 9.0 * i + 1, word)) for i, word in enumerate(text.split())]

    found = [word.place.text for word in merged(words(standing), words(heard))]
    assert normal_words(" ".join(found)) == normal_words(expected)


def test_a_window_falls_into_utterances_at_its_pauses() -> None:
    level = LEVEL.copy()
    level[100:130] = level[250:260] = level[400:440] = -70
    speech = level > -50
    edges = utterances(level, speech, 0.25, 0, 500)
    assert len(edges) == 4  # the pause of 0.1 s parts nothing
    assert 100 <= edges[1] < 130
    assert 400 <= edges[2] < 440


class Skips:
    """The bundled model, made to lose some words of the first window whenever it is asked for all of it.

    `deaf`: it hears nothing in shorter pieces of that window either.
    """

    def __init__(self, real: Recognizer, lost: tuple[int, int], *, deaf: bool = False) -> None:
        self.real, self.lost, self.deaf = real, lost, deaf
        self.info, self.room, self.submit = real.info, real.room, self._submit
        self.pending, self.confirm = real.pending, real.confirm
        self.lengths: dict[object, int] = {}
        self.victim = 0

    def _submit(self, request: WindowRequest) -> None:
        self.lengths[request.key] = len(request.samples)
        self.victim = self.victim or len(request.samples)
        self.real.submit(request)

    def poll(self) -> list[WindowResult]:
        return [self._spoilt(result) for result in self.real.poll()]

    def _spoilt(self, result: WindowResult) -> WindowResult:
        length = self.lengths[result.key]
        if length != self.victim:
            piece = self.deaf and length < self.victim // 2
            return replace(result, text="", places=(), words=None) if piece else result
        first, last = self.lost
        words = result.text.split()
        return replace(
            result,
            text=" ".join(words[:first] + words[last:]),
            words=None if result.words is None else self._held(result.words),
            places=self._held(result.places),
        )

    def _held(self, timed: tuple[Any, ...]) -> tuple[Any, ...]:
        """As attention has it: the word before the skipped ones lasts until the next that is said."""
        first, last = self.lost
        if not timed or last == len(timed):
            return timed[:first]
        return (*timed[: first - 1], replace(timed[first - 1], end=timed[last].start), *timed[last:])


@pytest.fixture
def recording(
    save: Callable[..., Path], clips: list[tuple[str, np.ndarray]]
) -> tuple[Path, list[tuple[str, np.ndarray]]]:
    """Eight clips, three of which make the first window."""
    chosen = [clips[i] for i in (4, 2, 3, 5, 6, 8, 9, 7)]
    return save(joined(chosen, 0.4)), chosen


def said(chosen: list[tuple[str, np.ndarray]]) -> list[str]:
    return [word for text, _ in chosen for word in normal_words(text)]


def of_clip(chosen: list[tuple[str, np.ndarray]], index: int) -> tuple[int, int]:
    """First word of a clip and the one behind its last, in the first window."""
    start = sum(len(text.split()) for text, _ in chosen[:index])
    return start, start + len(chosen[index][0].split())


def test_a_skipped_sentence_comes_back(
    nano: Recognizer, recording: tuple[Path, list[tuple[str, np.ndarray]]]
) -> None:
    path, chosen = recording
    whole = row(path, nano)
    assert normal_words(whole.text) == said(chosen)
    assert len(normal_words(whole.windows[0].text)) == len(said(chosen[:3]))
    transcript = row(path, Skips(nano, of_clip(chosen, 1)))
    assert normal_words(transcript.text) == said(chosen)
    assert "recovered" in transcript.windows[0].flags
    assert transcript.windows[0].hypotheses


def test_what_follows_an_early_end_comes_back(
    nano: Recognizer, recording: tuple[Path, list[tuple[str, np.ndarray]]]
) -> None:
    path, chosen = recording
    transcript = row(path, Skips(nano, of_clip(chosen, 2)))
    assert normal_words(transcript.text) == said(chosen)
    assert "recovered" in transcript.windows[0].flags


@pytest.mark.parametrize("index", [1, 2], ids=["inside", "at the end"])
def test_a_sentence_that_never_comes_is_named(
    nano: Recognizer, recording: tuple[Path, list[tuple[str, np.ndarray]]], index: int
) -> None:
    path, chosen = recording
    model = Skips(nano, of_clip(chosen, index), deaf=True)
    transcript = row(path, model)
    assert transcript.status == "partial"
    assert transcript.error_code == "uncovered_speech"
    start = sum(len(samples) / 16_000 + 0.4 for _, samples in chosen[:index])
    seconds = len(chosen[index][1]) / 16_000
    (found,) = transcript.uncovered
    assert found[0] == pytest.approx(start, abs=0.5)
    assert found[1] == pytest.approx(start + seconds, abs=0.5)
    assert "uncovered" in transcript.windows[0].flags
    assert not any("uncovered" in window.flags for window in transcript.windows[1:])
    assert transcript.coverage == pytest.approx(1 - (found[1] - found[0]) / transcript.speech, abs=0.02)


def syllables(*times: float, frames: int = 800) -> np.ndarray:
    """Frames of which those at these seconds are nuclei of syllables."""
    found = np.zeros(frames, bool)
    found[[round(100 * at) for at in times]] = True
    return found


def test_a_slow_speaker_is_no_gap() -> None:
    """Words that all take twice as long are no missing speech; one that takes four times as long is."""
    slow = [TimedText(1.0 * i, 1.0 * (i + 1), "seven") for i in range(8)]
    speech, two_each = np.ones(800, bool), syllables(*np.arange(0.2, 8, 0.5))
    assert missing(slow, speech, two_each) < SUSPECTED
    held = [*slow[:3], TimedText(3.0, 6.0, "seven"), *slow[6:]]
    assert missing(held, speech, two_each) > 2
    assert missing(slow[:5], speech, two_each) == pytest.approx(3.0, abs=0.1)
    assert list(bare_stretches(slow[:5], speech, two_each, 0.7)) == [(500, 800)]
    drawled = [TimedText(0.6 * i, 0.6 * (i + 1), "two") for i in range(3)]  # too few to tell a slow speaker
    once = syllables(0.3, 0.9, 1.5)
    assert missing(drawled, speech[:180], once[:180]) == pytest.approx(3 * (0.6 - 0.36 - 0.1), abs=0.15)
    assert missing([], speech, two_each) == 0.0
    assert list(bare_stretches([], speech, two_each, 0.7)) == []


def test_a_word_that_is_drawn_out_has_no_more_syllables() -> None:
    words = [TimedText(0.4 * i, 0.4 * (i + 1), "two") for i in range(5)]
    words[4] = TimedText(1.6, 2.9, "two")
    speech = np.ones(290, bool)
    drawn = syllables(0.2, 0.6, 1.0, 1.4, 2.2, frames=290)
    hidden = drawn | syllables(1.8, 2.5, 2.7, frames=290)
    assert (
        missing(words, speech, drawn) < missing(words, speech, ~speech) + 0.2
    )  # as in noise, which has none
    assert missing(words, speech, hidden) > missing(words, speech, drawn) + 0.3


def test_a_speaker_lingers_before_a_full_stop() -> None:
    words = [TimedText(0.4 * i, 0.4 * (i + 1), "two") for i in range(5)]
    speech, none = np.ones(260, bool), np.zeros(260, bool)
    inside = [*words[:4], TimedText(1.6, 2.6, "two")]
    before = [*words[:4], TimedText(1.6, 2.6, "two.")]
    assert missing(inside, speech, none) - missing(before, speech, none) == pytest.approx(LINGERING)


def test_syllables_are_peaks_of_the_level() -> None:
    """A clip of three syllables and a pause; a level that barely moves, as in noise, has none."""
    level = np.full(100, -60, np.float32)
    for at in (20, 40, 60):
        level[at - 5 : at + 5] = -20
    (found,) = np.nonzero(nuclei(level, level > -40))
    assert len(found) == 3
    assert np.abs(found - [20, 40, 60]).max() <= 3
    even = np.random.default_rng(0).uniform(-20.5, -20, 100).astype(np.float32)
    assert np.count_nonzero(nuclei(even, np.ones(100, bool))) == 0
    assert not nuclei(level, np.zeros(100, bool)).any()


def timed(*words: tuple[float, float, str]) -> list[Word]:
    return [Word(TimedText(*word)) for word in words]


def texts(words: list[Word]) -> list[str]:
    return [word.place.text for word in words]


def test_a_part_of_a_number_is_not_new() -> None:
    number = timed((3.0, 5.5, "8500"))
    assert texts(merged(timed((5.5, 6.0, "to")), timed((3.4, 4.4, "eighty-five")), *number)) == ["to"]
    again = timed((5.0, 5.4, "eighty-five"))  # after the time that the number takes to say
    assert texts(merged([], again, *number)) == ["eighty-five"]


def test_a_sentence_said_again_is_inserted_at_its_own_time() -> None:
    once = timed((0.0, 0.5, "please"), (0.5, 9.0, "wait."))
    twice = timed((0.0, 0.5, "please"), (0.5, 1.0, "wait."), (4.0, 4.5, "please"), (4.5, 5.0, "wait."))
    both = merged(once, twice)
    assert texts(both) == ["please", "wait.", "please", "wait."]
    speech = np.r_[np.ones(100, bool), np.zeros(800, bool)]
    assert missing([word.place for word in both], speech, ~speech) < 0.1


def test_a_word_in_which_a_gap_begins_is_not_written_twice() -> None:
    name = timed((11.8, 13.0, "Radio"))
    heard = timed((12.3, 13.0, "radio"), (13.0, 14.0, "USB"))
    assert texts(merged(timed((13.0, 14.3, "USB")), heard, *name)) == ["USB"]
    later = timed((13.2, 14.0, "radio"), (14.0, 15.0, "USB"))  # long after it was said: said again
    assert texts(merged(timed((14.0, 15.3, "USB")), later, *name)) == ["radio", "USB"]


def test_a_word_in_which_a_gap_ends_is_not_written_twice() -> None:
    done, press = timed((8.5, 9.4, "done.")), timed((9.4, 9.5, "Press"))
    heard = timed((8.5, 9.2, "done,"), (9.2, 9.4, "press..."))
    assert texts(merged(done, heard, None, *press)) == ["done."]
    twice = timed((8.0, 8.3, "done,"), (8.3, 8.8, "press..."))  # it is over when the next one begins
    assert texts(merged(done, twice, None, *press)) == ["done.", "press..."]


def test_a_word_of_both_texts_may_be_written_otherwise() -> None:
    standing = timed((9.0, 9.4, "tone"), (9.4, 12.0, "please"))
    heard = timed((9.0, 9.4, "town"), (9.4, 9.8, "please"), (9.8, 12.0, "wait."))
    assert texts(merged(standing, heard)) == ["tone", "please", "wait."]


def test_the_end_of_a_word_is_no_utterance() -> None:
    level = LEVEL.copy()
    level[20:60] = level[250:290] = level[480:] = -70
    assert len(utterances(level, level > -50, 0.25, 0, 500)) == 3


def test_a_word_that_stands_for_a_skipped_sentence_stays_behind_it() -> None:
    [before], [after] = timed((19.4, 20.8, "conference.")), timed((23.2, 23.7, "increase"))
    heard = timed((20.5, 21.4, "Followed"), (21.4, 21.6, "by"), (21.6, 21.8, "the"), (21.8, 23.1, "key."))
    both = merged(timed((20.8, 23.2, "To")), heard, before, after)
    assert texts(both) == ["Followed", "by", "the", "key.", "To"]
    assert both[-1].place.start == 23.1
    [middle] = timed((19.4, 20.8, "pound"))  # here the word is part of what is heard
    assert texts(merged(timed((20.8, 23.2, "Toki")), heard, middle, after)) == texts(heard)


def test_a_short_word_is_no_spelling_of_a_longer_one() -> None:
    heard = timed((0.0, 0.4, "the"), (0.4, 0.8, "town"), (0.8, 1.2, "hall"))
    assert texts(merged(timed((0.0, 1.2, "To")), heard)) == ["the", "town", "hall"]
