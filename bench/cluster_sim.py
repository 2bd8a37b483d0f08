"""Simulates 1 to 64 Raspberry Pis: the real scheduler and workers' bookkeeping in simulated time.

`python bench/cluster_sim.py` prints the tables of docs/performance.md. RayPool (scheduling) and Worker
(look-ahead, length of calls) are the real ones. Simulated are the clock, Ray's calls, the network and the
engine, which takes its windows in order and decodes them at a fixed pace. Nothing fails.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from dataclasses import dataclass, replace
from types import SimpleNamespace

from asr_batch.manifests.records import AudioItem, SpanResult, Unit
from asr_batch.models.recognizer import ModelInfo
from asr_batch.pipeline.audio.reader import AudioInfo
from asr_batch.pipeline.windows import spans as split
from asr_batch.workers import desk, worker
from asr_batch.workers.cluster import actor as ray_actor
from asr_batch.workers.cluster import actors as ray_actors
from asr_batch.workers.cluster import pool as ray_pool
from asr_batch.workers.cluster import supervisor
from asr_batch.workers.cluster.actors import Actors
from asr_batch.workers.cluster.nodes import node
from asr_batch.workers.cluster.nodes.node import Machine, Node, Setup
from asr_batch.workers.cluster.supervisor import Supervisor
from asr_batch.workers.cluster.unit_queue import UnitQueue
from asr_batch.workers.pool import UnitDone, WorkerSpec

TIMED = (ray_actor, ray_actors, ray_pool, desk, node, supervisor, worker)
"""Modules that look at the clock."""


@dataclass(frozen=True)
class Pi:
    """Assumptions about a node, the network and the driver; times in seconds."""

    pace: float = 20.0  # seconds of audio a second
    slow: float = 0.0  # the pace of every second node; 0: that of the others
    slots: int = 16
    window: float = 10.0
    load: float = 3.0
    network: float = 110e6  # bytes per second out of the driver
    bytes_a_second: float = 16_000.0  # FLAC at 16 kHz: 1 MB a minute
    call: float = 0.001  # there and back
    send: bool = True  # the nodes do not see the driver's files
    driver_call: float = 0.00055  # processor time of the driver for a call
    driver_file: float = 0.0002  # and for a file, rows and commits included

    def of(self, number: int) -> Pi:
        """The node with this number."""
        return replace(self, pace=self.slow) if self.slow and number % 2 else self


class Clock:
    """Replaces the module `time`: time passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Transcriber:
    """Decodes units in order, `pace` seconds of audio per second; `room` as in the real one."""

    def __init__(self, clock: Clock, pi: Pi) -> None:
        self.clock, self.pi = clock, pi
        self.open: deque[list] = deque()

    def room(self) -> int:
        sight = sum(math.ceil(left / self.pi.window) for _, left in self.open)
        return max(0, 2 * self.pi.slots - sight)

    def add(self, unit: Unit, source) -> None:
        self.open.append([unit, unit.seconds])

    def open_units(self):
        return tuple(unit for unit, _ in self.open)

    def progress(self):
        return {unit.key: unit.seconds - left for unit, left in self.open}

    def advance(self, seconds: float) -> list[SpanResult]:
        spent = min(seconds, self.open[0][1] / self.pi.pace)
        self.clock.sleep(spent)
        self.open[0][1] -= spent * self.pi.pace
        if self.open[0][1] > 1e-9:
            return []
        unit, _ = self.open.popleft()
        return [SpanResult(unit.key, unit.start, unit.start + unit.seconds, (), decode_seconds=spent)]


class SimWorker(worker.Worker):
    """The real worker with a simulated engine."""

    def __init__(self, clock: Clock, pi: Pi, node: str) -> None:
        self._sim = clock, pi
        super().__init__(WorkerSpec("/model"), node)

    def _start(self) -> None:
        info = ModelInfo("null", "null", "/model", "0" * 64, "int8", self._sim[1].window)
        self._recognizer = SimpleNamespace(info=info, occupancy=lambda: (1, 1), close=lambda: None)
        self._transcriber = Transcriber(*self._sim)


@dataclass(eq=False)
class Call:
    done: float
    value: object


class Actor:
    """A worker on a node: its calls run one after the other, each once its audio has arrived."""

    def __init__(self, ray: FakeRay, node: str) -> None:
        self.ray, self.node, self.busy, self.idle_from = ray, node, 0.0, 0.0
        self.load = SimpleNamespace(remote=self._load)
        self.advance = SimpleNamespace(remote=self._advance)

    def _load(self, *_) -> Call:
        pi = self.ray.pi.of(int(self.node.removeprefix("pi")))
        self.worker = SimWorker(self.ray.clock, pi, self.node)
        return Call(self.ray.clock.now + self.ray.pi.load, (self.worker.info, self.worker.room()))

    def _advance(self, units, seconds) -> Call:
        clock = self.ray.clock
        clock.now += self.ray.charge(self.ray.pi.driver_call)
        kept, begun = clock.now, self.ray.arrival(self.node, units)
        clock.now = begun
        advance = self.worker.advance(units, seconds)
        self.busy += clock.now - begun
        self.idle_from = clock.now
        done, clock.now = clock.now + self.ray.pi.call, kept
        return Call(done, (advance, ()))


class FakeRay:
    """The part of Ray that the pool uses."""

    exceptions = SimpleNamespace(RayError=type("RayError", (Exception,), {}))
    pinned = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
    util = SimpleNamespace(scheduling_strategies=pinned)

    def __init__(self, clock: Clock, pi: Pi) -> None:
        self.clock, self.pi, self.actors = clock, pi, []
        self.sent = self.driver = self.link_free = 0.0
        self.there: set[tuple[str, str]] = set()

    def remote(self, _):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._actor))

    def _actor(self, node: str) -> Actor:
        self.actors.append(Actor(self, node))
        return self.actors[-1]

    def charge(self, seconds: float) -> float:
        self.driver += seconds
        return seconds

    def arrival(self, node: str, units) -> float:
        """Arrival time of the units' files, each sent whole, on the node; all share the driver's link."""
        new = {(node, unit.item.location): unit for unit in units} if self.pi.send else {}
        size = sum(
            unit.seconds * unit.count * self.pi.bytes_a_second
            for key, unit in new.items()
            if key not in self.there
        )
        self.there |= new.keys()
        self.sent += size
        if size:
            self.link_free = max(self.link_free, self.clock.now) + size / self.pi.network
            return self.link_free
        return self.clock.now

    def wait(self, calls, num_returns=1, timeout=0.0):
        done = sorted((call for call in calls if call.done <= self.clock.now), key=lambda call: call.done)
        if not done and timeout:
            first = min(calls, key=lambda call: call.done)
            if first.done > self.clock.now + timeout:
                self.clock.sleep(timeout)
            else:
                self.clock.now, done = first.done, [first]
        done = done[:num_returns]
        return done, [call for call in calls if call not in done]

    def get(self, call: Call):
        return call.value

    def kill(self, actor, no_restart) -> None:
        pass


class Nodes:
    """A fixed number of nodes."""

    patience, headless = 0.0, False

    def __init__(self, count: int) -> None:
        names = [f"pi{number:02}" for number in range(count)]
        self._nodes = [Node(Machine(name, name, name, 4, local=True)) for name in names]
        for one in self._nodes:
            one.begin(Setup("/model", None, workers=1, memory_share=1 << 30))

    def __iter__(self):
        return iter(self._nodes)

    def tend(self) -> None:
        pass


def pool_of(ray: FakeRay, count: int) -> ray_pool.RayPool:
    """The real pool over simulated nodes, with all workers ready."""
    actors, queue = Actors(ray, WorkerSpec("/model"), ""), UnitQueue()
    supervisor_ = Supervisor(actors, queue, ray.exceptions)
    pool = ray_pool.RayPool(SimpleNamespace(close=lambda: None), Nodes(count), actors, queue, supervisor_)
    while len(actors.ready()) < count:
        pool.wait(0.0)
        pool.await_first()
    return pool


def units_of(length: float, hours: float) -> list[Unit]:
    """Files of `length` seconds, `hours` in total, split as by the program."""
    info = AudioInfo(length, 16000, 1, "FLAC", True)
    count = round(hours * 3600 / length)
    items = [AudioItem(f"f{number:06}", "f.flac", f"/audio/{number:06}.flac") for number in range(count)]
    return [replace(unit, deadline=1e9) for item in items for unit in split.split_item(item, info)]


def simulate(count: int, length: float, hours: float, pi: Pi) -> dict[str, float]:
    """One job on `count` nodes; seconds and shares."""
    clock = Clock()
    for module in TIMED:
        module.time = clock
    try:
        ray = FakeRay(clock, pi)
        pool, todo = pool_of(ray, count), deque(units_of(length, hours))
        begun, files = clock.now, len(todo)
        ray.driver = 0.0
        while todo or pool.open_units():
            for _ in range(min(pool.room(), len(todo))):
                pool.submit(todo.popleft())
            done = sum(isinstance(event, UnitDone) for event in pool.wait(0.25))
            clock.sleep(ray.charge(done * pi.driver_file))
    finally:
        for module in TIMED:
            module.time = time
    wall = max(actor.idle_from for actor in ray.actors) - begun
    first = min(actor.idle_from for actor in ray.actors) - begun
    return {
        "wall": wall,
        "of ideal": hours * 3600 / sum(pi.of(number).pace for number in range(count)) / wall,
        "files/s": files / wall,
        "driver": ray.driver / wall,
        "network": ray.sent / pi.network / wall,
        "tail": wall - first,
    }


def table(length: float, hours: float, pi: Pi) -> None:
    audio = "sent by the driver" if pi.send else "on a shared disk"
    slow = f", every second node at {pi.slow:g}" if pi.slow else ""
    print(f"\nfiles of {length:g} s, {hours:g} h in all, {audio}; {pi.pace:g} s of audio a second{slow}\n")
    print("| Pis | time | of n Pis' pace | units/s | driver's core | driver's network | tail |")
    print("|---|---|---|---|---|---|---|")
    for count in (1, 2, 4, 8, 16, 32, 64):
        found = simulate(count, length, hours, pi)
        print(
            f"| {count} | {found['wall']:.0f} s | {100 * found['of ideal']:.1f} % | {found['files/s']:.2f} "
            f"| {100 * found['driver']:.2f} % | {100 * found['network']:.1f} % | {found['tail']:.1f} s |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--lengths", type=float, nargs="+", default=[5.0, 60.0, 3600.0])
    parser.add_argument("--pace", type=float, default=Pi.pace, help="seconds of audio a second on one Pi")
    parser.add_argument(
        "--network", type=float, default=Pi.network, help="bytes per second out of the driver"
    )
    parser.add_argument("--slow", type=float, default=0.0, help="the same for every second node")
    parser.add_argument("--shared", action="store_true", help="the nodes read the audio from a shared disk")
    given = parser.parse_args()
    for length in given.lengths:
        table(length, given.hours, Pi(given.pace, given.slow, network=given.network, send=not given.shared))


if __name__ == "__main__":
    main()
