"""The pool that starts with its first unit."""

from __future__ import annotations

import fake_pool

from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.run.pools import LazyPool
from asr_batch.manifests.records import AudioItem, Unit

UNITS = [Unit(AudioItem(f"r{number}", "a.wav", "/a.wav")) for number in range(3)]


def test_units_wait_for_the_start():
    stop, pool = StopRequest(), fake_pool.FakePool()
    lazy = LazyPool(fake_pool.INFO, lambda: pool, stop)
    for unit in UNITS:
        lazy.submit(unit)
    assert lazy.open_units() == tuple(UNITS)
    assert pool.submitted == []
    lazy.wait(0.0)
    assert [unit.key for unit in pool.submitted] == [unit.key for unit in UNITS]


def test_a_stop_while_it_starts_begins_nothing():
    stop, pool = StopRequest(), fake_pool.FakePool()

    def start():
        stop.ask(15)
        return pool

    lazy = LazyPool(fake_pool.INFO, start, stop)
    for unit in UNITS:
        lazy.submit(unit)
    lazy.wait(0.0)
    assert pool.submitted == []
    assert lazy.open_units() == ()
