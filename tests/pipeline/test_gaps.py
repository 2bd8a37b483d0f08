"""Speech that no word stands for: found by the words' times, put back without losing a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import joined, row

from asr_batch.models.recognizer import Recognizer, TimedWord, WindowRequest, WindowResult
from asr_batch.pipeline.gaps import Hole, filled, find_hole, find_rest, inserted
from asr_batch.pipeline.text import normal_words

WORDS = tuple(
    TimedWord(start, end, text, 0.9)
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


def test_a_word_that_lasts_too_long_is_a_hole() -> None:
    level = LEVEL.copy()
    level[140:150] = -70  # the pause behind "Thursday."
    hole = find_hole(WORDS, SPEECH, level)
    assert hole is not None
    assert hole.first <= 2 < hole.last
    assert hole.start <= 70
    assert hole.end >= 380
    rest = find_rest(WORDS, SPEECH, level)
    assert rest is not None
    assert (rest.first, rest.last) == (3, 3)
    assert 140 <= rest.start <= 150


def test_a_pause_is_no_hole() -> None:
    speech = SPEECH.copy()
    speech[140:385] = False
    assert find_hole(WORDS, speech, LEVEL) is None
    assert find_rest(WORDS, speech, LEVEL) is None


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ("Thursday, five four one. Julia", "we met Thursday, five four one. Julia left"),
        ("Thursday, five four one.", None),  # a word that was there is not in it
        ("Thursday. Julia", None),  # nothing new
        ("", None),
    ],
)
def test_a_piece_replaces_words_only_if_it_holds_them_all(piece: str, expected: str | None) -> None:
    assert filled("we met Thursday. Julia left", Hole(2, 4, 0, 1), piece) == expected


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ("five four one.", "we met Thursday. five four one. Julia left"),
        ("Thursday. five four one. Julia", "we met Thursday. five four one. Julia left"),
        ("Thursday. Julia", None),
        ("", None),
    ],
)
def test_an_inserted_piece_doubles_nothing(piece: str, expected: str | None) -> None:
    assert inserted("we met Thursday. Julia left", Hole(3, 3, 0, 1), piece) == expected


class Skips:
    """The bundled model, made to lose some words of the first window whenever it is asked for all of it."""

    def __init__(self, real: Recognizer, lost: tuple[int, int]) -> None:
        self.real, self.lost = real, lost
        self.info, self.room, self.submit = real.info, real.room, self._submit
        self.pending, self.confirm = real.pending, real.confirm
        self.lengths: dict[object, int] = {}
        self.victim = 0

    def _submit(self, request: WindowRequest) -> None:
        self.lengths[request.key] = len(request.samples)
        self.victim = self.victim or len(request.samples)
        self.real.submit(request)

    def poll(self) -> list[WindowResult]:
        from dataclasses import replace

        out = []
        for result in self.real.poll():
            if self.lengths[result.key] != self.victim:
                out.append(result)
                continue
            first, last = self.lost
            words = result.text.split()
            timed = result.words
            if timed is not None:
                # As attention has it: the word before the skipped ones lasts until the next that is said.
                held = replace(timed[first - 1], end=timed[last].start)
                timed = (*timed[: first - 1], held, *timed[last:])
            out.append(replace(result, text=" ".join(words[:first] + words[last:]), words=timed))
        return out


def test_a_skipped_sentence_comes_back(
    nano: Recognizer, save: Callable[..., Path], clips: list[tuple[str, np.ndarray]]
) -> None:
    chosen = [clips[i] for i in (4, 2, 3, 5, 6, 8, 9, 7)]
    path = save(joined(chosen, 0.4))
    expected = [word for text, _ in chosen for word in normal_words(text)]
    whole = row(path, nano)
    assert normal_words(whole.text) == expected
    assert len(whole.windows[0].text.split()) > len(" ".join(text for text, _ in chosen[:3]).split()) - 1
    start = len(chosen[0][0].split())
    transcript = row(path, Skips(nano, (start, start + len(chosen[1][0].split()))))
    assert normal_words(transcript.text) == expected
    assert "recovered" in transcript.windows[0].flags
    assert transcript.windows[0].hypotheses
