"""Words lie where somebody speaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr_batch.manifests.records import WindowRecord
from asr_batch.models.recognizer import TimedWord, WindowResult
from asr_batch.pipeline.audio.frames import FRAME
from asr_batch.pipeline.ledger.word_times import word_times
from asr_batch.pipeline.records import DecodedWindow

_RESULT = WindowResult(
    key=0,
    text="Good morning",
    tokens=(1, 2),
    avg_logprob=-0.1,
    no_speech_prob=0.0,
    words=(TimedWord(0.0, 4.3, "Good", 0.9), TimedWord(4.3, 4.9, "morning", 0.9)),
)

_BEHIND = (TimedWord(5.2, 5.4, "morning", 0.9), TimedWord(5.4, 5.6, "all", 0.9))


def window(level: np.ndarray, unheard: float) -> DecodedWindow:
    """5 s of which the last one is speech; before it, Silero gives `unheard`."""
    speech = np.full(500, unheard, np.float32)
    speech[400:] = 0.95
    return DecodedWindow(0, 0, 500 * FRAME, "end", level.astype(np.float16), speech.astype(np.float16))


def music() -> np.ndarray:
    """Notes of half a second each, as loud as the speaker."""
    return np.tile(np.concatenate((np.full(50, -20.0), np.full(50, -60.0))), 5)


def test_a_word_does_not_begin_in_the_music_before_it() -> None:
    record = WindowRecord(0, 0.0, 5.0, 0.0, 5.0, "end", "Good morning")
    words, approximate = word_times(record, _RESULT, window(music(), 0.02))
    assert not approximate
    assert words[0].start == pytest.approx(4.0)
    assert words[0].end == pytest.approx(4.3)


def test_sound_that_may_be_speech_belongs_to_the_word() -> None:
    record = WindowRecord(0, 0.0, 5.0, 0.0, 5.0, "end", "Good morning")
    level = np.full(500, -20.0)
    level[425:495] = -60.0
    words, _ = word_times(record, _RESULT, window(level, 0.3))
    assert words[0].start == 0.0


def test_words_behind_the_end_of_the_window_share_its_last_moment() -> None:
    result = replace(_RESULT, text="Good morning all", words=(*_RESULT.words[:1], *_BEHIND))
    record = WindowRecord(0, 0.0, 5.0, 0.0, 5.0, "end", "Good morning all")
    words, _ = word_times(record, result, window(np.full(500, -20.0), 0.3))
    assert all(word.end - word.start >= 0.06 - 1e-9 for word in words)
    assert words[-1].end == 5.0
