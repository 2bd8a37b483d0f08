"""Who gets the next unit: workers with an NPU before others, and nobody more than wanted."""

from __future__ import annotations

from types import SimpleNamespace

from worker_fakes import unit

from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.cluster.actor import Actor
from asr_batch.workers.cluster.file_transfer import FileTransfer
from asr_batch.workers.cluster.nodes.node import Machine, Node
from asr_batch.workers.cluster.unit_queue import UnitQueue

INFO = ModelInfo("fake", "fake", "/m", "0" * 64, "fp32", 10.0)


def ready(*given):
    """Actors (name, has an NPU, room), each on a node of its own, without a Ray behind them."""
    made = []
    for name, npu, room in given:
        node = Node(Machine(name, name, name, 4))
        made.append(Actor(name, node, SimpleNamespace(), FileTransfer(None), npu))
        made[-1].loaded(INFO, room)
    return made


def queued(actors):
    return {actor.name: len(actor.desk.queued) for actor in actors}


def test_npu_workers_are_served_first():
    actors, queue = ready(("cpu", False, 9), ("npu", True, 3)), UnitQueue()
    for number in range(4):
        queue.put(unit(f"u{number}"))
    queue.hand_out(actors)
    assert queued(actors) == {"cpu": 0, "npu": 4}
    for number in range(3):
        queue.put(unit(f"v{number}"))
    queue.hand_out(actors)
    assert queued(actors) == {"cpu": 3, "npu": 4}


def test_what_nobody_wants_yet_waits():
    actors, queue = ready(("a", False, 1), ("b", False, 1)), UnitQueue()
    for number in range(7):
        queue.put(unit(f"u{number}"))
    queue.hand_out(actors)
    assert queued(actors) == {"a": 2, "b": 2}
    assert queue.room(actors) == 0
    assert len(queue.units()) == 3
    actors[0].desk.queued.clear()
    queue.assign(actors)
    assert queued(actors) == {"a": 2, "b": 2}
    assert len(queue.units()) == 1


def test_a_suspect_runs_alone_where_nothing_has_crashed_lately():
    actors, queue = ready(("broken", False, 4), ("sound", False, 4)), UnitQueue()
    actors[0].node.worker_gone(actors[0].desk, True, "died")
    actors[1].desk.queued.append(unit("other"))
    queue.put(unit("suspect", alone=True))
    assert queue.reserved(actors).name == "sound"
    queue.put(unit("next"))
    queue.assign(actors)
    assert queued(actors) == {"broken": 1, "sound": 1}, "the reserved one gets nothing, and runs empty first"
    actors[1].desk.queued.clear()
    queue.assign(actors)
    assert [one.item.id for one in actors[1].desk.queued] == ["suspect"]
