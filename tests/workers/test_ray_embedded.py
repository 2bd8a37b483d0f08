"""The embedded Ray, as a subprocess: what it leaves behind matters as much as what it returns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")
HERE = Path(__file__).parent

DRIVER = """
import json, logging, sys
logging.getLogger("asr_batch").addHandler(logging.NullHandler())
from asr_batch.manifests.records import AudioItem, Unit
from asr_batch.workers.pool import UnitDone, UnitsLost, WorkerSpec
from asr_batch.workers.cluster.pool import start

def unit(name, **more):
    return Unit(AudioItem(name, name, "/nowhere/" + name), end=1.0, seconds=1.0, deadline=3.0, **more)

pool = start(WorkerSpec(sys.argv[1]), workers=2, maker="simulated:SimulatedWorker")
sys.excepthook = sys.__excepthook__  # Ray's own asks the head before it prints anything
print("up", flush=True)
todo = [unit(name) for name in json.loads(sys.argv[2])]
told = []
while todo or pool.open_units():
    while todo and pool.room():
        pool.submit(todo.pop(0))
    for event in pool.wait(0.5):
        if isinstance(event, UnitDone):
            told.append(["done", event.result.key[0], event.worker])
        elif isinstance(event, UnitsLost):
            told.append(["lost", event.reason, event.culpable, sorted(u.item.id for u in event.units)])
            if len(event.units) > 1 or not event.culpable:
                todo += [unit(u.item.id, alone=event.culpable) for u in event.units]
status = pool.nodes()[0]
pool.close()
print(json.dumps({"told": told, "workers": status.workers, "seconds": status.audio_seconds}))
"""


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 as /proc/net/tcp and /proc/net/tcp6 write it."""


def start(names, tmp_path):
    command = [sys.executable, "-c", DRIVER, str(tmp_path), json.dumps(names)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = dict(os.environ, PYTHONPATH=str(HERE))
    driver = subprocess.Popen(command, env=env, text=True, start_new_session=True, **pipes)
    driver.sessions = set()
    return driver


def of_driver(driver) -> list[Path]:
    """Folders in /proc of the driver, its children, and all in sessions that these lead."""
    told = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            told[int(folder.name)] = (state, int(parent), int(session))
    driver.sessions |= {driver.pid} | {pid for pid, (_, parent, _) in told.items() if parent == driver.pid}
    mine = [pid for pid, (state, _, session) in told.items() if session in driver.sessions and state != "Z"]
    return [Path(f"/proc/{pid}") for pid in mine]


def left(driver) -> list[str]:
    """Command lines of what is still there a while after the driver has ended."""
    until = time.monotonic() + 10
    while of_driver(driver) and time.monotonic() < until:
        time.sleep(0.1)
    return [(folder / "cmdline").read_text() for folder in of_driver(driver)]


def listeners(driver) -> set[str]:
    """Local addresses (hex) on which the driver's processes listen."""
    inodes = set()
    for folder in of_driver(driver):
        with contextlib.suppress(OSError):
            links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
            inodes |= {link[8:-1] for link in links if link.startswith("socket:")}
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    rows = [line.split() for line in lines]
    return {row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_units_crash_hang_and_come_back_and_nothing_is_left(tmp_path):
    names = [f"u{i:02}" for i in range(20)] + ["crash-1", "hang-1"]
    driver = start(names, tmp_path)
    assert driver.stdout.readline() == "up\n"
    found = listeners(driver)
    assert found
    assert found <= LOOPBACK
    out, err = driver.communicate(timeout=120)
    assert err == ""
    (line,) = out.splitlines()
    told = json.loads(line)["told"]
    done = [name for kind, name, *_ in told if kind == "done"]
    assert sorted(done) == [f"u{i:02}" for i in range(20)]
    lone = {(event[1], *event[3]) for event in told if event[0] == "lost" and len(event[3]) == 1 and event[2]}
    assert ("crashed", "crash-1") in lone
    assert ("hung", "hang-1") in lone
    assert len({event[2] for event in told if event[0] == "done"}) > 1
    assert left(driver) == []


SLOW = [pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.parametrize("number", [signal.SIGKILL, *SLOW])
def test_ray_is_gone_however_the_driver_ends(tmp_path, number):
    driver = start([f"slow-{i}" for i in range(100)], tmp_path)
    assert driver.stdout.readline() == "up\n"
    time.sleep(0.5)
    assert len(of_driver(driver)) > 5
    driver.send_signal(number)
    driver.communicate(timeout=30)
    assert left(driver) == []


@pytest.mark.parametrize("name", ["raylet", pytest.param("gcs_server", marks=pytest.mark.slow)])
def test_a_ray_that_was_killed_ends_the_pool_at_once(tmp_path, name):
    driver = start([f"slow-{i}" for i in range(100)], tmp_path)
    assert driver.stdout.readline() == "up\n"
    (daemon,) = (folder for folder in of_driver(driver) if (folder / "exe").resolve().name == name)
    os.kill(int(daemon.name), signal.SIGKILL)
    _, err = driver.communicate(timeout=20)
    assert driver.returncode == 1
    assert f"Ray's process {name} on this machine was killed" in err
    assert left(driver) == []


@pytest.mark.slow
def test_signals_to_the_process_group_reach_the_driver_alone(tmp_path):
    driver = start([f"slow-{i}" for i in range(30)], tmp_path)
    assert driver.stdout.readline() == "up\n"
    os.killpg(driver.pid, signal.SIGCONT)
    groups = {os.getpgid(int(folder.name)) for folder in of_driver(driver) if int(folder.name) != driver.pid}
    assert groups
    assert driver.pid not in groups
    driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert left(driver) == []


@pytest.mark.slow
def test_a_model_that_cannot_be_used_is_a_model_error(tmp_path):
    env = dict(os.environ, PYTHONPATH=str(HERE))
    code = DRIVER.replace('"simulated:SimulatedWorker"', '"simulated:NoModel"')
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "[]"], env=env, capture_output=True, text=True
    )
    assert run.stderr.strip().endswith("ModelError: there is no model")
