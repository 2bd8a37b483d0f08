"""Nodes of a cluster: prepared, left out for good, or tried again when what kept them passes."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from ray_fakes import ActorDiedError, FakeRay, Handle

from asr_batch.manifests.errors import ConfigError, RetryableError
from asr_batch.workers.cluster import pool
from asr_batch.workers.cluster.faults import passes
from asr_batch.workers.cluster.nodes import node as node_module
from asr_batch.workers.cluster.nodes.membership import ClusterNodes
from asr_batch.workers.cluster.nodes.node import Setup
from asr_batch.workers.cluster.nodes.preparation import Prepared

READY = Prepared(agent=Handle())
CUT = Prepared(misfit="the worker cannot be reached", passes=True)
FULL = Prepared(misfit="no space for the model")


class Cluster(FakeRay):
    """Ray with machines of these names, all alive; one CPU each, the head none."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.alive = dict.fromkeys(("head", *names), True)

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: "head")

    def nodes(self):
        return [
            {
                "NodeID": name,
                "NodeManagerHostname": name,
                "NodeManagerAddress": "10.0.0.1",
                "Alive": alive,
                "Resources": {} if name == "head" else {"CPU": 1.0},
            }
            for name, alive in self.alive.items()
        ]


class Preparation:
    """Answers as the test says, by name; each answer is used once, the last one again and again."""

    def __init__(self, **answers) -> None:
        self.answers = {name: list(given) for name, given in answers.items()}

    def prepare(self, machine, tell):
        given = self.answers[machine.name]
        return given.pop(0) if len(given) > 1 else given[0]

    def setup(self, machine, prepared, workers):
        return Setup("/model", None, workers or 2, 1 << 30)


def until(check):
    end = time.monotonic() + 10
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def states(nodes):
    return {node.name: node.state for node in nodes}


@pytest.fixture
def no_rest(monkeypatch):
    monkeypatch.setattr(node_module, "DISTRUST", 0.0)
    monkeypatch.setattr("asr_batch.workers.cluster.nodes.membership.PULSE", 0.02)


def test_a_head_without_cpus_runs_no_workers_and_counts_for_none():
    nodes = ClusterNodes(Cluster("a", "b"), Preparation(a=[READY], b=[READY]), workers=6)
    nodes.prepare_all()
    assert states(nodes) == {"head": "left out", "a": "ready", "b": "ready"}
    assert [node.setup.workers for node in nodes if node.setup] == [3, 3]
    pool._expect_fit(nodes, strict=True)


def test_a_node_that_was_cut_off_while_it_was_prepared_is_prepared_again(no_rest):
    nodes = ClusterNodes(Cluster("a"), Preparation(a=[CUT, CUT, READY]))
    nodes.prepare_all()
    assert states(nodes)["a"] == "lost"
    pool._expect_fit(nodes, strict=False)
    with pytest.raises(ConfigError, match="cannot be reached"):
        pool._expect_fit(nodes, strict=True)

    def ready():
        nodes.tend()
        return states(nodes)["a"] == "ready"

    until(ready)


def test_a_node_that_may_come_back_is_waited_for_beside_one_that_does_not_fit():
    nodes = ClusterNodes(Cluster("a", "b"), Preparation(a=[FULL], b=[CUT]))
    nodes.prepare_all()
    assert states(nodes) == {"head": "left out", "a": "left out", "b": "lost"}
    pool._expect_fit(nodes, strict=False)


def test_a_node_that_does_not_fit_stays_left_out(no_rest):
    nodes = ClusterNodes(Cluster("a"), Preparation(a=[FULL, READY]))
    nodes.prepare_all()
    for _ in range(10):
        nodes.tend()
        time.sleep(0.03)
    assert states(nodes)["a"] == "left out"
    with pytest.raises(ConfigError, match="no space for the model"):
        pool._expect_fit(nodes, strict=False)


def test_a_node_that_ray_lost_while_it_was_prepared_is_not_ready_afterwards(no_rest):
    ray, go = Cluster("a"), []

    class Slow(Preparation):
        def prepare(self, machine, tell):
            until(lambda: go)
            return READY

    nodes = ClusterNodes(ray, Slow())
    nodes.prepare_all(patience=0.1)
    assert states(nodes)["a"] == "preparing"
    ray.alive["a"] = False

    def lost():
        nodes.tend()
        return states(nodes)["a"] == "lost"

    until(lost)
    go.append(True)
    time.sleep(0.1)
    nodes.tend()
    assert states(nodes)["a"] == "lost"


def test_which_faults_pass():
    exceptions = FakeRay.exceptions
    assert passes(exceptions.ActorUnavailableError("cut off"), exceptions)
    assert passes(ActorDiedError("the node has died"), exceptions)
    assert not passes(ActorDiedError("ModuleNotFoundError: No module named 'asr_batch'"), exceptions)
    assert not passes(exceptions.OutOfMemoryError(""), exceptions)
    assert not passes(RetryableError("disk full"), exceptions)


def test_the_node_table_has_no_head_without_cpus():
    nodes = ClusterNodes(Cluster("a", "b"), Preparation(a=[READY], b=[FULL]), None)
    nodes.prepare_all()
    actors = SimpleNamespace(of=lambda node: [])
    table = pool.RayPool(SimpleNamespace(), nodes, actors, SimpleNamespace(), SimpleNamespace()).nodes()
    assert [(line.node, line.alive, line.note) for line in table] == [
        ("a", True, ""),
        ("b", False, "left out: no space for the model"),
    ]
