"""Times of words that come from two decodings of a stretch."""

from __future__ import annotations

from itertools import pairwise

import pytest

from asr_batch.models.recognizer import TimedWord
from asr_batch.pipeline.retry.merging import in_order


def timed(*words: tuple[float, float, str]) -> list[TimedWord]:
    return [TimedWord(start, end, word, 0.9) for start, end, word in words]


def test_words_in_order_keep_their_times() -> None:
    assert in_order([]) == []
    words = timed((0.0, 0.4, "Press"), (0.4, 0.7, "five"), (0.69, 0.9, "to"), (1.5, 1.6, "repeat."))
    assert in_order(words) == words


@pytest.mark.parametrize(
    "words",
    [
        # A gap was filled with words that end where those behind it had begun.
        timed(
            (9.0, 9.1, "town"), (9.1, 9.7, "key."), (9.1, 9.1, "To"), (9.1, 9.7, "increase"), (11, 11.3, "it")
        ),
        timed((1.0, 1.0, "To"), (1.0, 1.5, "increase")),
        timed((1.0, 1.5, "town"), (1.5, 1.5, "key.")),
        timed((2.0, 2.5, "key."), (1.8, 2.1, "To"), (2.3, 2.9, "increase")),
    ],
)
def test_words_in_one_place_share_its_time(words: list[TimedWord]) -> None:
    found = in_order(words)
    assert [word.word for word in found] == [word.word for word in words]
    assert all(word.end > word.start for word in found)
    assert all(one.end <= two.start + 0.02 for one, two in pairwise(found))
    assert found[0].start == words[0].start
    assert found[-1].end >= words[-1].start


def test_shares_end_where_the_next_word_begins() -> None:
    found = in_order(timed((1.0, 1.0, "extension"), (1.0, 1.1, "thousand"), (1.2, 1.6, "now")))
    assert found[1].end == pytest.approx(1.2)
    assert found[2].start == 1.2
