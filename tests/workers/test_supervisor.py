"""Nodes that fall silent, die or come back, and who is blamed for the units of their actors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray_fakes import ActorDiedError, FakeRay
from worker_fakes import unit

from asr_batch.manifests.errors import ModelError
from asr_batch.manifests.records import SpanResult
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers import desk
from asr_batch.workers.advance import Advance
from asr_batch.workers.cluster import supervisor, suspicions
from asr_batch.workers.cluster.actors import Actors
from asr_batch.workers.cluster.nodes import node as node_module
from asr_batch.workers.cluster.nodes import pulse
from asr_batch.workers.cluster.nodes.node import Machine, Node, Setup
from asr_batch.workers.cluster.nodes.pulse import Pulse
from asr_batch.workers.cluster.supervisor import Supervisor
from asr_batch.workers.cluster.unit_queue import UnitQueue
from asr_batch.workers.pool import MAX_FAILURES, UnitsLost, WorkerSpec

INFO = ModelInfo("fake", "fake", "/m", "0" * 64, "fp32", 10.0)


@pytest.fixture
def clock(monkeypatch):
    """Monotonic time that passes when the test says so."""
    made = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: made.now, sleep=lambda seconds: None)
    for module in (desk, node_module, pulse, supervisor, suspicions):
        monkeypatch.setattr(module, "time", fake)
    return made


class Setting:
    """One node of a cluster with one actor that has loaded its model."""

    def __init__(self, local: bool = False, npus: int = 0) -> None:
        self.ray, self.queue = FakeRay(), UnitQueue()
        self.node = Node(Machine("1", "pi", "10.0.0.1", 4, npus, local))
        self.agent = SimpleNamespace(calls=[])
        self.agent.pulse = SimpleNamespace(remote=self._ask)
        setup = Setup("/model", None, workers=1, memory_share=1 << 30, npus=npus)
        self.node.begin(setup, None if local else Pulse(self.ray, self.agent))
        self.actors = Actors(self.ray, WorkerSpec("/model"), "module:Worker")
        self.supervisor = Supervisor(self.actors, self.queue, self.ray.exceptions)
        self.start()

    def _ask(self):
        self.agent.calls.append(SimpleNamespace(done=False, value=None))
        return self.agent.calls[-1]

    def start(self):
        self.actors.staff([self.node])
        self.answer((INFO, 4))

    @property
    def call(self):
        return self.ray.handles[-1].calls[-1]

    def answer(self, value):
        self.call.done, self.call.value = True, value
        for actor, found in self.actors.answers(0.0):
            self.supervisor.receive(actor, found)

    def hand_out(self, *units):
        for one in units:
            self.queue.put(one)
        self.queue.assign(self.actors.ready())
        self.actors.advance()

    def lost(self):
        return [
            (event.reason, event.culpable, [one.item.id for one in event.units])
            for event in self.supervisor.events()
            if isinstance(event, UnitsLost)
        ]


def test_a_crash_on_this_machine_alone_is_blamed_at_once(clock):
    here = Setting(local=True)
    here.hand_out(unit("a"))
    here.answer(ActorDiedError("Worker exit detail: signal 11"))
    assert here.lost() == [("crashed", True, ["a"])]
    assert len(here.actors) == 0
    assert here.ray.killed == here.ray.handles


def test_a_crash_in_a_cluster_is_blamed_when_the_node_has_answered_since(clock):
    there = Setting()
    there.hand_out(unit("a"))
    there.answer(ActorDiedError("signal 11"))
    assert there.lost() == []
    assert [one.item.id for one in there.supervisor.units()] == ["a"], "it is nowhere else"
    clock.now += 1
    there.agent.calls[-1].done = True
    assert there.node.pulse.look() == "heard"
    there.supervisor.follow_nodes()
    assert there.lost() == [], "what was asked before the crash proves nothing"
    clock.now += pulse.PULSE
    assert there.node.pulse.look() is None
    clock.now += 1
    there.agent.calls[-1].done = True
    assert there.node.pulse.look() == "heard"
    there.supervisor.follow_nodes()
    assert there.lost() == [("crashed", True, ["a"])]
    assert there.supervisor.units() == []


@pytest.mark.parametrize("end", ["lost", "silent"])
def test_a_crash_is_nobodys_fault_when_the_node_went_with_it(clock, end):
    there = Setting()
    there.hand_out(unit("a"))
    there.answer(ActorDiedError("signal 9"))
    if end == "lost":
        there.node.lose("Ray lost it")
    else:
        clock.now += pulse.SILENCE + 0.1
    there.supervisor.follow_nodes()
    assert there.lost() == [("node_lost", False, ["a"])]


def test_a_silent_node_is_fenced_and_staffed_again_when_it_comes_back(clock):
    there = Setting()
    there.hand_out(unit("a"))
    assert there.node.pulse.look() is None
    clock.now += pulse.SILENCE + 0.1
    assert there.node.pulse.look() == "silent"
    there.node.fall_silent("no sign of life")
    there.supervisor.follow_nodes()
    assert there.lost() == [("node_lost", False, ["a"])]
    assert there.node.failures == 0
    there.actors.staff([there.node])
    assert len(there.actors) == 0
    there.node.come_back()
    there.actors.staff([there.node])
    assert len(there.actors) == 1


def test_units_that_never_left_wait_for_another_worker(clock):
    here = Setting(local=True)
    units = [unit(f"u{number}") for number in range(6)]
    here.hand_out(*units)
    held = [one.item.id for one in here.call.given[0]]
    here.answer(ActorDiedError("signal 11"))
    assert here.lost() == [("crashed", True, held)]
    assert [one.item.id for one in here.queue.units()] == [
        one.item.id for one in units if one.item.id not in held
    ]


def test_a_hang_is_told_of_the_unit_and_not_of_its_neighbours(clock):
    here = Setting(local=True)
    here.hand_out(unit("slow"), unit("quick"))
    clock.now += 100.0
    done = SpanResult(("other", 0), 0, 1)
    here.answer((Advance((done,), progress=((("quick", 0), 0.5),), room=0), ()))
    clock.now += 100.0
    here.supervisor.check_deadlines()
    assert here.lost() == [("hung", True, ["slow"]), ("hung", False, ["quick"])]


def test_nothing_hangs_on_a_node_that_was_not_heard_lately(clock):
    there = Setting()
    there.hand_out(unit("a"))
    clock.now += 1000.0
    there.supervisor.check_deadlines()
    assert there.lost() == []


def test_a_node_whose_workers_die_pauses_and_is_left_out(clock):
    here = Setting(local=True)
    for number in range(MAX_FAILURES):
        assert here.node.state == "ready"
        here.hand_out(unit(f"u{number}"))
        here.answer(ActorDiedError("signal 11"))
        assert here.node.missing(0) == (number == 0), (
            "the first is replaced at once, later ones after a pause"
        )
        clock.now += 31.0
        if here.node.state == "ready":
            here.start()
    assert (here.node.state, here.node.may_come_back) == ("left out", True)
    assert here.node.status([]).note.startswith(f"left out: {MAX_FAILURES} workers in a row died")


def test_a_finished_unit_clears_the_record_of_a_node(clock):
    here = Setting(local=True)
    here.hand_out(unit("a"))
    here.answer(ActorDiedError("signal 11"))
    here.start()
    here.hand_out(unit("b"))
    assert here.node.failures == 1
    here.answer((Advance((SpanResult(("b", 0), 0, 1),), room=4), ()))
    assert here.node.failures == 0


def test_a_model_that_cannot_be_loaded_leaves_the_node_out(clock):
    here = Setting(local=True)
    here.actors.remove(next(iter(here.actors)))
    here.actors.staff([here.node])
    here.answer(ModelError("there is no model"))
    assert (here.node.state, here.node.note) == ("left out", "there is no model")
    assert str(here.supervisor.trouble) == "there is no model"


def test_only_as_many_workers_get_an_npu_as_there_are(clock):
    ray = FakeRay()
    node = Node(Machine("1", "pi", "10.0.0.1", 8, npus=1))
    node.begin(Setup("/model", None, workers=2, memory_share=1 << 30, npus=1))
    actors = Actors(ray, WorkerSpec("/model"), "module:Worker")
    actors.staff([node])
    assert [options.get("resources") for options in ray.options] == [{"hailo": 1}, None]
    specs = [handle.calls[0].given[0] for handle in ray.handles]
    assert [spec.load.encoder for spec in specs] == ["auto", "cpu"]
    assert [spec.load.threads for spec in specs] == [4, 4]


def test_files_go_with_the_call_once_the_node_has_refused_one(clock, tmp_path):
    there = Setting()
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"sound")
    first, second = unit("a", str(audio)), unit("b", str(audio))
    there.hand_out(first)
    _, _, stamps, sent = there.call.given
    assert stamps[first.key][0] == 5
    assert sent == []
    there.answer((Advance(room=4), (first.key,)))
    units, _, stamps, sent, payload = there.call.given
    assert ([one.item.id for one in units], stamps, sent) == (["a"], {}, [first.key])
    assert payload.tobytes() == b"sound"
    audio.chmod(0)
    there.answer((Advance((SpanResult(first.key, 0, 1),), room=4), ()))
    audio.unlink()
    there.hand_out(second)
    units, _, stamps, sent = there.call.given
    assert ([one.item.id for one in units], sent) == (["b"], []), (
        "a file that is gone is the worker's to tell"
    )
