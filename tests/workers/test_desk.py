"""How much a worker is given: what its windows have room for, the rest stays where others can have it."""

from __future__ import annotations

from dataclasses import replace

from worker_fakes import unit

from asr_batch.workers.advance import Advance
from asr_batch.workers.desk import Desk


def desk(room, units):
    made = Desk("w", "n", room, 10.0)
    made.queued.extend(units)
    return made


def spans(count, seconds=600.0):
    return [replace(unit(f"u{number}"), seconds=seconds) for number in range(count)]


def names(units):
    return [one.item.id for one in units]


def test_short_units_fill_the_room_and_one_more_waits_at_hand():
    made = desk(4, spans(6, seconds=3.0))
    assert names(made.dispatch()) == ["u0", "u1", "u2", "u3"]
    made.receive(Advance(room=0))
    assert made.dispatch() == []
    assert names(made.queued) == ["u4", "u5"]
    made.receive(Advance(room=3))
    assert made.wants() == 2


def test_long_units_are_not_hoarded():
    made = desk(32, spans(5))
    assert names(made.dispatch()) == ["u0"]
    assert made.wants() == 0
    for _ in range(10):  # calls that finish nothing bring the worker nothing new
        made.receive(Advance(room=0))
        assert made.dispatch() == []
    made.receive(Advance(room=1))
    assert names(made.dispatch()) == ["u1"]


def test_a_worker_that_holds_nothing_gets_a_unit_whatever_it_says():
    made = desk(0, spans(2))
    assert names(made.dispatch()) == ["u0"]
    assert made.dispatch() == []


def test_what_was_put_back_is_the_next_to_go():
    made = desk(61, spans(2))
    first, second = made.dispatch()
    made.put_back(second)
    assert names(made.queued) == ["u1"]
    assert names(made.dispatch()) == ["u1"]
    assert set(made.held) == {first.key, second.key}
