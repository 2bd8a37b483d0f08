"""Where words were heard: the path through the attention, and what the bundled model's own steps tell."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, Recognizer, WindowRequest, WindowResult
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.places import path_starts, word_places
from asr_batch.models.whisper.tokenizer import WhisperTokenizer

ROOT = Path(__file__).parents[2]
NANO = ROOT / "models" / "bundled" / "nano.en"
AUDIO = ROOT / "tests" / "data" / "audio"
RATE = 16_000


@pytest.fixture(scope="module")
def nano() -> Recognizer:
    return load_recognizer(NANO, LoadOptions(threads=2))


def clip(name: str) -> np.ndarray:
    return soundfile.read(AUDIO / f"{name}.flac", dtype="float32")[0]


def heard(model: Recognizer, samples: np.ndarray, **options: object) -> WindowResult:
    model.submit(WindowRequest(0, samples, DecodeOptions(**options)))
    results: list[WindowResult] = []
    while model.pending():
        results += model.poll()
    return results[0]


@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_path_is_the_best_of_all_monotone_ones(rows: int, groups: int, seed: int) -> None:
    weights = np.random.default_rng(seed).random((rows, groups)).astype(np.float32)

    def total(starts: tuple[int, ...]) -> float:
        edges = [0, *starts, groups]
        return float(sum(weights[i, edges[i] : edges[i + 1]].sum() for i in range(rows)))

    found, share = path_starts(weights)
    assert found[0] == 0
    assert sorted(found) == list(found)
    best = max(total(starts) for starts in combinations_with_replacement(range(groups + 1), rows - 1))
    assert total(tuple(found[1:])) == pytest.approx(best, abs=1e-6)
    assert share == pytest.approx(best / rows, abs=1e-6)


def test_heads_that_do_not_follow_the_audio_tell_no_places(nano: Recognizer) -> None:
    tokens = heard(nano, clip("dev-0003")).tokens
    tokenizer = WhisperTokenizer(NANO, WhisperConfig.from_folder(NANO))
    even = np.full((len(tokens) + 1, 125), 1 / 125, np.float32)
    assert word_places(list(even), tokens, tokenizer, 4 * RATE) == ()
    follows = np.zeros_like(even)
    follows[np.arange(len(even)), np.arange(len(even)) * 2] = 1
    assert len(word_places(list(follows), tokens, tokenizer, 10 * RATE)) == 9


def test_places_are_those_of_word_times(nano: Recognizer) -> None:
    samples = np.concatenate([clip("dev-0003"), np.zeros(RATE, np.float32), clip("dev-0012")])
    result = heard(nano, samples, word_timestamps=True)
    assert result.words is not None
    assert [place.text for place in result.places] == [word.word for word in result.words]
    off = [abs(place.start - word.start) for place, word in zip(result.places, result.words, strict=True)]
    assert np.median(off) < 0.1
    second = next(place for place in result.places if place.text == "Call")
    assert second.start >= len(clip("dev-0003")) / RATE - 0.1
    edges = [time for place in result.places for time in (place.start, place.end)]
    assert edges == sorted(edges)
    assert 0 <= edges[0] <= edges[-1] <= len(samples) / RATE


def test_what_an_early_end_leaves_out_has_no_place(nano: Recognizer) -> None:
    """A decoding that is cut off stops listening where its last word is, far from the end of the speech."""
    samples = np.concatenate([clip("dev-0003"), clip("dev-0012")])
    result = heard(nano, samples, max_new_tokens=8)
    assert result.truncated
    assert result.places[-1].end < 0.6 * len(samples) / RATE
    assert heard(nano, samples).places[-1].end > 0.85 * len(samples) / RATE


def test_plain_decoding_has_no_places(nano: Recognizer) -> None:
    assert heard(nano, clip("dev-0003"), plain=True).places == ()


def test_a_prompt_moves_no_place(nano: Recognizer) -> None:
    without, given_one = heard(nano, clip("dev-0012")), heard(nano, clip("dev-0012"), prompt="two words")
    assert given_one.text == without.text
    assert len(given_one.places) == len(without.places)
    for a, b in zip(given_one.places, without.places, strict=True):
        assert a.start == pytest.approx(b.start, abs=0.35)
