"""Word times from attention whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_whisper import Tiny, publish

from asr_batch.models.whisper.alignment import group_words, median_filter, token_starts, warp, word_times
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.tokenizer import WhisperTokenizer
from asr_batch.pipeline.text.words import words_of


@pytest.fixture
def tokenizer(tmp_path: Path) -> WhisperTokenizer:
    publish(tmp_path, Tiny(1))
    return WhisperTokenizer(tmp_path, WhisperConfig.from_folder(tmp_path))


def attention(starts: list[int], positions: int, noise: float, seed: int = 0) -> np.ndarray:
    """Each token looks at the stretch from its start to the next one's, on top of noise."""
    rng = np.random.default_rng(seed)
    ends = [*starts[1:], positions]
    weights = noise * rng.random((3, len(starts), positions))
    for row, (a, b) in enumerate(zip(starts, ends, strict=True)):
        weights[:, row, a:b] += 1.0 / (b - a)
    return (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.01])
def test_starts_are_found(noise: float) -> None:
    truth = [0, 12, 20, 47, 60, 90]
    found = token_starts(attention(truth, 120, noise), 7)
    assert np.abs(found - truth).max() <= 2


def test_path_is_the_cheapest_of_all() -> None:
    cost = np.random.default_rng(1).random((4, 6)).astype(np.float32)

    def cheapest(i: int, j: int) -> float:
        before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        if i == j == 0:
            return float(cost[0, 0])
        return float(cost[i, j]) + min(cheapest(a, b) for a, b in before if a >= 0 and b >= 0)

    rows, columns = warp(cost)
    assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, 3, 5)
    assert cost[rows, columns].sum() == pytest.approx(cheapest(3, 5), abs=1e-5)


def test_median_filter_is_numpys_median_inside() -> None:
    values = np.random.default_rng(2).random((2, 30)).astype(np.float32)
    assert np.allclose(median_filter(values, 7)[:, 10], np.median(values[:, 7:14], axis=-1))
    assert np.array_equal(median_filter(values[:, :1], 7), values[:, :1])


def test_words_take_punctuation_and_half_characters(tokenizer: WhisperTokenizer) -> None:
    tokens = tokenizer.encode(" one, two é. three")
    words = group_words(tokens, tokenizer)
    assert [word for word, _, _ in words] == ["one,", "two", "é.", "three"]
    assert [first for _, first, _ in words] == sorted(first for _, first, _ in words)
    assert words[-1][2] == len(tokens)


@pytest.mark.parametrize(
    "text", ["日本。", " Un dossier ? Non - deux!", "日本 USB 両", "In coming 日", " a\u00e9b  c", ""]
)
def test_words_are_those_of_the_text(text: str, tokenizer: WhisperTokenizer) -> None:
    assert [word for word, _, _ in group_words(tokenizer.encode(text), tokenizer)] == words_of(text)


class Whole(WhisperTokenizer):
    """Of texts by number."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def text_ids(self, ids: Sequence[int]) -> list[int]:
        return list(ids)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self._texts[one] for one in ids)


def test_words_in_one_token_share_its_time() -> None:
    found = group_words([0, 1, 2], Whole("今日", "は", "、明日"))
    assert [word for word, _, _ in found] == ["今", "日", "は、", "明", "日"]
    times = [0, 0.5, 1, 2 + 1 / 3, 2 + 2 / 3, 3]
    assert [begin for _, begin, _ in found] == pytest.approx(times[:-1])
    assert [end for _, _, end in found] == pytest.approx(times[1:])
    lone = group_words([0, 1, 2], Whole(" one", " two", "fold"))
    assert lone == [("one", 0, 1), ("twofold", 1, 3)]


def test_times_are_monotone_and_inside(tokenizer: WhisperTokenizer) -> None:
    tokens = tokenizer.encode(" one two three")
    starts = sorted(np.random.default_rng(3).choice(100, len(tokens) + 1, replace=False).tolist())
    words = word_times(tokens, [0.5] * len(tokens), attention(starts, 150, 0.001), tokenizer, seconds=2.1)
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 2.1
    assert [word.word for word in words] == ["one", "two", "three"]
    assert words[1].prob == 0.5
