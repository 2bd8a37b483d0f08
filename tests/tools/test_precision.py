"""`bench.precision`: what it counts where two forms of the same weights write different texts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from asr_batch.manifests.records import Transcript, WindowRecord

sys.path.append(str(Path(__file__).resolve().parents[2]))

pytest.importorskip("jiwer")

from bench.precision import Beside, difference


def transcript(*texts: str, logprob: float = -0.2) -> Transcript:
    """One window of 10 s for each text; its tokens follow from it."""
    windows = tuple(
        WindowRecord(
            index, 10.0 * index, 10.0 * index + 10, 10.0 * index, 10.0 * index + 10, "silence", text,
            tokens=tuple(map(ord, text)), avg_logprob=logprob,
        )
        for index, text in enumerate(texts)
    )  # fmt: skip
    return Transcript("id", "x.wav", "ok", " ".join(texts), language="en", windows=windows)


def test_ends_and_other_texts_are_told_apart() -> None:
    beside = Beside()
    reference = transcript("red green blue", "tea cup", "sun moon", "dog cat")
    beside.add(reference, transcript("Red, green.", "tea cup of", "sun star", "dog cat", logprob=-0.3))
    assert (beside.windows, beside.other, beside.shorter, beside.longer) == (4, 3, 1, 1)
    assert beside.likelier == pytest.approx([-0.1])


def test_windows_that_only_one_form_has_are_left_out() -> None:
    beside = Beside()
    beside.add(transcript("one"), transcript("one", "two"))
    assert beside.windows == 1


def test_the_mean_is_over_languages_and_its_error_over_recordings() -> None:
    apart, error = difference({"en": [1.0, 2.0], "es": [4.0, 4.0]}, {"en": [1.0, 3.0], "es": [5.0, 5.0]})
    assert apart == pytest.approx((0.5 + 1.0) / 2)
    assert error == pytest.approx(0.5 / 2)
