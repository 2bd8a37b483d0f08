"""The fast way from scores in parts to tokens against the plain one over whole rows of logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_batch.models.recognizer import DecodeOptions
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.choose import FastRules, _largest, side_by_side
from asr_batch.models.whisper.engine.vocabulary import Scores
from asr_batch.models.whisper.rules import TokenRules, logsumexp

MODEL = Path(__file__).parents[2] / "models" / "bundled" / "nano.en"
KINDS = [DecodeOptions(), DecodeOptions(timestamps=True)]
CONFIG = WhisperConfig.from_folder(MODEL)


def scores_of(logits: np.ndarray, border: int) -> Scores:
    parts = (logits[:, :border].copy(), logits[:, border:].copy())
    return Scores(parts, logsumexp(logits))


@pytest.mark.parametrize(("spread", "offset"), [(2.0, 0.0), (20.0, 150.0), (60.0, -300.0)])
def test_same_tokens_as_over_whole_rows(spread: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    config = replace(CONFIG, suppress=(3, 4, 7, *range(2000, 2100), CONFIG.vocab_size - 1))
    plain, fast = TokenRules(config), FastRules(config)
    kinds = [KINDS[i % 3 == 1] for i in range(10)]
    one, other = ([rules.start(kind, [1, 2]) for kind in kinds] for rules in (plain, fast))
    for _ in range(6):
        logits = (rng.standard_normal((10, config.vocab_size)) * spread + offset).astype(np.float32)
        logits[:, config.eot] = offset - 10 * spread
        scores = scores_of(logits, 1700)
        plain.step(one, logits)
        fast.choose(other, scores)
    assert [window.tokens for window in one] == [window.tokens for window in other]
    for first, second in zip(one, other, strict=True):
        assert first.logprobs == pytest.approx(second.logprobs, abs=2e-4)


def test_norm_is_summed_anew_when_suppressed_ids_held_nearly_all_of_it() -> None:
    rules = FastRules(replace(CONFIG, suppress=(5,)))
    window = rules.start(DecodeOptions(), [1])
    window.tokens.append(9)
    logits = np.zeros((1, CONFIG.vocab_size), np.float32)
    logits[0, 5], logits[0, 6] = 40, 3
    rules.choose([window], scores_of(logits, 1000))
    assert window.tokens == [9, 6]
    share = np.exp(3) / (np.exp(3) + CONFIG.vocab_size - 2)
    assert window.logprobs == pytest.approx([np.log(share)], abs=1e-4)


def test_a_row_of_nan_is_broken_and_its_neighbour_is_not() -> None:
    rules = FastRules(CONFIG)
    windows = [rules.start(DecodeOptions(), [1]) for _ in range(2)]
    for window in windows:
        window.tokens.append(9)
    logits = np.zeros((2, CONFIG.vocab_size), np.float32)
    logits[0], logits[1, 11] = np.nan, 5
    rules.choose(windows, scores_of(logits, 1000))
    assert (windows[0].broken, windows[1].broken) == (True, False)
    assert windows[1].tokens == [9, 11]


def test_ids_that_follow_each_other_become_slices() -> None:
    ids = side_by_side([*range(50, 90), 3, 9, 4])
    assert ids[0] == slice(50, 90)
    assert np.asarray(ids[1]).tolist() == [3, 4, 9]
    assert side_by_side([]) == []


@pytest.mark.parametrize("columns", [7, 100, 6 * 64, 1700, 2011])
def test_the_largest_of_each_row(columns: int) -> None:
    rows = np.random.default_rng(columns).standard_normal((5, columns)).astype(np.float32)
    found = np.sort(_largest(rows, 6), axis=1)
    assert found.tolist() == np.sort(np.argsort(-rows, axis=1)[:, :6], axis=1).tolist()


def test_likeliest_tokens_are_those_of_whole_rows() -> None:
    rng = np.random.default_rng(1)
    rules = FastRules(replace(CONFIG, suppress=(3, 4, 7, *range(2000, 2100))))
    for kind, begun in ((KINDS[0], True), (KINDS[0], False), (KINDS[1], True)):
        windows = [rules.start(kind, [1, 2]) for _ in range(4)]
        for window in windows:
            window.tokens += [9] * begun
        logits = rng.standard_normal((4, CONFIG.vocab_size)).astype(np.float32)
        expected = rules.allowed(windows, logits)
        found = rules.likeliest(windows, scores_of(logits, 1700), 5)
        for row, some in zip(expected, found, strict=True):
            assert [token for token, _ in some] == np.argsort(-row)[:5].tolist()
            assert [chance for _, chance in some] == pytest.approx(np.sort(row)[::-1][:5].tolist(), abs=1e-4)
