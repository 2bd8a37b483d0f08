"""Chaos on three hosts with real links: each row comes back exactly once, or is quarantined for cause."""

from __future__ import annotations

import os
import time

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def rows(count: int) -> list[str]:
    return [f"slow-{number:03}" for number in range(count)]


def test_poison_and_hanging_rows_harm_no_neighbour(hosts, run):
    job = run("crash-1", "hang-1", slow=40)
    job.finish()
    assert job.done() == rows(40)
    assert job.quarantined() == {("crash-1", "crashed"), ("hang-1", "hung")}
    assert len({line["worker"].split("/")[0] for line in job.lines if "done" in line}) == 2


def test_a_killed_host_is_nobodys_fault_and_may_join_again(hosts, run):
    victim = hosts.others[1]
    job = run(slow=150)
    job.until(lambda line: line.get("worker", "").startswith(victim.name) and "done" in line)
    victim.kill()
    killed = time.monotonic()
    lost = job.until(lambda line: line.get("reason") == "node_lost", 20)
    assert lost["at"] - killed < 15
    victim.boot()
    victim.ray_start("--num-cpus=1")
    victim.await_ray()
    again = time.monotonic()
    job.until(lambda told: told["at"] > again and told.get("worker", "").startswith(victim.name), 40)
    job.finish()
    assert job.done() == rows(150)
    assert not job.quarantined()


def test_a_short_cut_is_ridden_out(hosts, run):
    job = run(slow=60)
    job.until(lambda line: "done" in line)
    hosts.others[0].cut()
    time.sleep(4)
    hosts.others[0].heal()
    job.finish()
    assert job.done() == rows(60)
    names = [line["done"] for line in job.lines if "done" in line]
    assert len(names) == len(set(names))
    assert not job.quarantined()


def test_a_cut_host_is_fenced_within_15_s_and_its_late_results_do_not_count(hosts, run):
    victim = hosts.others[0]
    job = run(slow=200)
    job.until(lambda line: "done" in line and line["worker"].startswith(victim.name))
    victim.cut()
    cut = time.monotonic()
    lost = job.until(lambda line: line.get("reason") == "node_lost", 20)
    assert lost["at"] - cut < 15
    assert victim.pids("ray::WorkerHost"), "it should still compute: this is what fencing is for"
    time.sleep(3)
    victim.heal()
    job.finish()
    assert job.done() == rows(200)
    names = [line["done"] for line in job.lines if "done" in line]
    assert len(names) == len(set(names))
    assert not job.quarantined()
    until = time.monotonic() + 70
    while victim.ray.poll() is None and time.monotonic() < until:
        time.sleep(0.5)
    if victim.ray.poll() is not None:  # declared dead by Ray: its service would start it again
        victim.ray_start("--num-cpus=1")
        time.sleep(5)


def test_a_driver_that_is_killed_leaves_no_worker_and_the_next_one_starts(hosts, run):
    first = run(slow=100)
    first.until(lambda line: "done" in line)
    for pid in hosts.head.pids("driver.py"):
        os.kill(pid, 9)
    second = run(slow=20)
    second.finish()
    assert second.done() == rows(20)
    until = time.monotonic() + 15
    while any(host.pids("ray::WorkerHost") for host in hosts.others) and time.monotonic() < until:
        time.sleep(0.2)
    assert not any(host.pids("ray::WorkerHost") for host in hosts.others)
