"""Who gets the next unit: workers with an NPU before others, and nobody more than wanted."""

from __future__ import annotations

import pytest
from worker_fakes import unit

pytest.importorskip("ray")

from asr_batch.workers.cluster.actors import Hands
from asr_batch.workers.cluster.fleet import Hand, Node
from asr_batch.workers.cluster.pool import RayPool
from asr_batch.workers.desk import Desk
from asr_batch.workers.pool import WorkerSpec


def pool_of(*hands):
    """The pool's bookkeeping over workers (name, has an NPU, room) without a Ray behind it."""
    pool = object.__new__(RayPool)
    Hands.__init__(pool, WorkerSpec("/model"), "")
    for name, npu, room in hands:
        node = Node(name, name, name, 4)
        pool._hands.append(Hand(name, node, None, Desk(name, name, room, 10.0), npu, ready=True))
    return pool


def queued(pool):
    return {hand.name: len(hand.desk.queued) for hand in pool._hands}


def test_npu_workers_are_served_first():
    pool = pool_of(("cpu", False, 9), ("npu", True, 3))
    for number in range(4):
        pool.submit(unit(f"u{number}"))
    assert queued(pool) == {"cpu": 0, "npu": 4}
    for number in range(3):
        pool.submit(unit(f"v{number}"))
    assert queued(pool) == {"cpu": 3, "npu": 4}


def test_what_nobody_wants_yet_waits_in_the_pool():
    pool = pool_of(("a", False, 1), ("b", False, 1))
    for number in range(7):
        pool.submit(unit(f"u{number}"))
    assert queued(pool) == {"a": 2, "b": 2}
    assert pool.room() == 0
    assert len(pool.open_units()) == 7
    pool._hands[0].desk.queued.clear()
    pool._place()
    assert queued(pool) == {"a": 2, "b": 2}
    assert len(pool._overflow) == 1


def test_a_suspect_runs_alone_where_nothing_has_crashed_lately():
    pool = pool_of(("broken", False, 4), ("sound", False, 4))
    pool._hands[0].node.failures = 1
    pool._hands[1].desk.queued.append(unit("other"))
    pool.submit(unit("suspect", alone=True))
    assert pool._reserved().name == "sound"
