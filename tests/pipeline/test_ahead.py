"""Reading on in a thread: the same items, errors in their place, an end when nobody wants more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from asr_batch.pipeline.audio.ahead import ReadAhead


def test_items_come_in_order_and_no_more_than_wanted_are_read_ahead() -> None:
    given: list[int] = []

    def source() -> Iterator[int]:
        for number in range(50):
            given.append(number)
            yield number

    for at, number in enumerate(reader := ReadAhead(source(), 3)):
        assert number == at
        assert len(given) <= at + 6  # three wait, one is being put there, one was just taken
    reader.close()
    assert len(given) == 50


def test_what_the_source_raises_is_raised_behind_what_came_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("broken off")

    reader = iter(ReadAhead(source(), 8))
    assert next(reader) == 1
    with pytest.raises(ValueError, match="broken off"):
        next(reader)


def test_nothing_reads_on_when_it_is_closed() -> None:
    before = threading.active_count()
    reader = ReadAhead(iter(range(1_000_000)), 2)
    assert next(iter(reader)) == 0
    reader.close()
    reader.close()
    assert threading.active_count() == before
