"""The worker in a process of its own: what a bad file costs, and what is left when the pool goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr_batch.jobs.console.messages import native_stderr_to
from asr_batch.manifests.errors import ModelError, WorkerFatalError
from asr_batch.manifests.records import AudioItem, Unit
from asr_batch.workers.child import process as child_process
from asr_batch.workers.child.pool import ChildPool
from asr_batch.workers.pool import UnitDone, UnitsLost, WorkerSpec

HERE = Path(__file__).parent


@pytest.fixture
def child(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    pools = []

    def make(worker: str = "SimulatedWorker") -> ChildPool:
        pools.append(ChildPool(WorkerSpec(str(tmp_path)), maker=f"simulated:{worker}"))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def unit(name: str, **more) -> Unit:
    return Unit(AudioItem(name, name, f"/nowhere/{name}"), end=1.0, seconds=1.0, deadline=2.0, **more)


def run(pool: ChildPool, names: list[str]) -> list[tuple]:
    """Work as the driver does: what may be to blame runs again, alone."""
    todo, told = [unit(name) for name in names], []
    while todo or pool.open_units():
        for _ in range(pool.room()):
            if todo:
                pool.submit(todo.pop(0))
        for event in pool.wait(0.2):
            if isinstance(event, UnitDone):
                told.append(("done", event.result.key[0]))
            elif isinstance(event, UnitsLost):
                told.append(("lost", event.reason, event.culpable, *(one.item.id for one in event.units)))
                if len(event.units) > 1 or not event.culpable:
                    todo += [unit(one.item.id, alone=event.culpable) for one in event.units]
    return told


def test_a_crash_and_a_hang_are_charged_to_the_file_that_did_it(child):
    names = ["u0", "crash-1", "u1", "hang-1", *(f"u{i}" for i in range(2, 12))]
    told = run(child(), names)
    assert sorted(event[1] for event in told if event[0] == "done") == sorted(f"u{i}" for i in range(12))
    blamed = {event[1:] for event in told if event[0] == "lost" and len(event) == 4 and event[2]}
    assert ("crashed", True, "crash-1") in blamed
    assert ("hung", True, "hang-1") in blamed


def test_signals_are_the_drivers(child):
    pool = child()
    assert pool.info.name == "null"
    os.kill(pool._child.pid, signal.SIGTERM)
    os.kill(pool._child.pid, signal.SIGINT)
    assert run(pool, ["u0"]) == [("done", "u0")]


def test_a_model_that_cannot_be_used_is_a_model_error(child):
    with pytest.raises(ModelError, match="there is no model"):
        _ = child("NoModel").info


def test_a_worker_that_always_dies_ends_the_pool(child):
    pool = child()
    pool.submit(unit("crash-1"))

    def always_again():
        for _ in range(100):
            for event in pool.wait(1.0):
                pool.submit(event.units[0])

    with pytest.raises(WorkerFatalError, match="exit code 139"):
        always_again()


def test_a_worker_killed_while_it_loads_is_replaced_once(child):
    pool = child("SlowToLoad")
    os.kill(pool._child.pid, signal.SIGKILL)
    assert pool.info.name == "null"
    assert run(pool, ["u0"]) == [("done", "u0")]
    pool = child("DiesLoading")
    with pytest.raises(WorkerFatalError, match=r"2 workers died in a row; last reason: .*exit code 139"):
        _ = pool.info


def test_nothing_is_left_of_it(child):
    pool = child()
    pid = pool._child.pid
    pool.submit(unit("hang-1"))
    assert pool.info
    pool.wait(0.2)
    pool.close()
    time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_was_prepared_is_taken_or_ended(child):
    child_process.prepare()
    (prepared,) = child_process._spare
    pool = child()
    assert pool._child is prepared
    assert pool.info.name == "null"
    child_process.prepare()
    (unwanted,) = child_process._spare
    child_process.discard()
    assert not Path(f"/proc/{unwanted.pid}").exists()


def test_a_process_that_loads_early_is_taken_and_writes_where_its_pool_says(child, tmp_path):
    child_process.prepare()
    child_process.load_ahead(WorkerSpec(str(tmp_path)), "simulated:SimulatedWorker", 1 << 30)
    (prepared,) = child_process._spare
    log = tmp_path / "stderr.log"
    with native_stderr_to(log):
        pool = child()
        assert pool._child is prepared
        run(pool, ["tell-1"])
        assert log.read_text() == "tell-1"


def test_a_process_that_loads_something_else_is_not_taken(child, tmp_path):
    child_process.prepare()
    child_process.load_ahead(WorkerSpec("another"), "simulated:SimulatedWorker", 1 << 30)
    (prepared,) = child_process._spare
    assert child()._child is not prepared
    assert not Path(f"/proc/{prepared.pid}").exists()


def test_a_prepared_process_goes_with_the_program(tmp_path):
    script = "from asr_batch.workers.child import process as c; c.prepare(); print(c._spare[0].pid)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    until = time.monotonic() + 20
    while Path(f"/proc/{done.stdout.strip()}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{done.stdout.strip()}").exists()
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_goes_back_when_nothing_is_left_to_do(child):
    """The driver writes the rows beside it."""
    pool = child("Hoarder")
    assert pool.info.name == "null"

    def resident() -> int:
        return int(Path(f"/proc/{pool._child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, until = resident(), time.monotonic() + 90
    pool.submit(unit("a"))
    while not any(isinstance(event, UnitDone) for event in pool.wait(1.0)):
        assert time.monotonic() < until
    while resident() > before + (32 << 20) and time.monotonic() < until:
        time.sleep(0.05)
    assert resident() <= before + (32 << 20)
