"""Rows whose worker, node or file fails under them."""

from __future__ import annotations

import fake_pool
import pytest
from fake_pool import FakePool


def failing(good, trouble):
    """The function `good`, which raises this for the row f1."""

    def bad(item, *rest):
        if item.id == "f1":
            raise trouble
        return good(item, *rest)

    return bad


def test_a_crash_is_charged_to_the_row_that_was_alone(folder, run, rows):
    folder(8)
    kills = []

    def poison(unit):
        if unit.item.id == "f3":
            kills.append(unit)
            return "crashed"
        return None

    assert run(FakePool(2, 3, poison)) == 3
    found = rows()
    assert [i for i, row in found.items() if row["status"] == "failed"] == ["f3"]
    assert found["f3"]["error_code"] == "worker_crashed"
    assert found["f3"]["attempts"] == len(kills)
    # The first kill is charged only if by chance nothing else was in that worker yet.
    assert [unit.alone for unit in kills] in ([False, True], [False, True, True])


@pytest.mark.parametrize(("reason", "code"), [("hung", "timeout"), ("out_of_memory", "out_of_memory")])
def test_hangs_and_memory(folder, run, rows, reason, code):
    folder(3)
    assert run(FakePool(1, 1, lambda unit: reason if unit.item.id == "f1" else None)) == 3
    assert rows()["f1"]["error_code"] == code
    assert rows()["f2"]["status"] == "ok"


def test_a_lost_node_costs_nobody(folder, run, rows):
    folder(4)
    left = {"node_lost": 6}

    def poison(unit):
        left["node_lost"] -= 1
        return "node_lost" if left["node_lost"] >= 0 else None

    assert run(FakePool(2, 2, poison)) == 0
    assert {row["status"] for row in rows().values()} == {"ok"}


def test_retryable_is_tried_four_times(folder, run, rows):
    folder(2)
    tries = []
    pool = FakePool(1, 1, lambda unit: tries.append(unit) or "retryable" if unit.item.id == "f0" else None)
    assert run(pool) == 3
    assert len(tries) == 4
    assert rows()["f0"]["error_code"] == "fetch_failed"


def test_a_bug_in_one_row_leaves_the_others(folder, run, rows, monkeypatch):
    folder(3)
    monkeypatch.setattr(fake_pool, "assemble", failing(fake_pool.assemble, ZeroDivisionError))
    assert run() == 3
    assert rows()["f1"]["error_code"] == "internal_error"
    assert rows()["f2"]["status"] == "ok"


@pytest.mark.parametrize("trouble", [MemoryError(), OverflowError("2**63"), ValueError("a bad header")])
def test_a_row_that_cannot_be_planned_leaves_the_others(folder, run, rows, monkeypatch, trouble):
    folder(3)
    monkeypatch.setattr(fake_pool, "split", failing(fake_pool.split, trouble))
    assert run() == 3
    assert rows()["f1"]["error_code"] == "internal_error"
    assert type(trouble).__name__ in rows()["f1"]["error_message"]
    assert [rows()[name]["status"] for name in ("f0", "f2")] == ["ok", "ok"]


def test_a_file_that_cannot_be_looked_at_goes_to_a_worker_all_the_same(folder, run, rows, monkeypatch):
    def broken(location, **_):
        raise MemoryError

    folder(3)
    monkeypatch.setattr("asr_batch.jobs.dataset.facts.stat_file", broken)
    assert run() == 0
    assert len(rows()) == 3


def test_a_pool_that_lost_all_workers_is_waited_for(folder, run, rows):
    """Nothing is out and there is no room: only `wait` can bring the pool back."""
    folder(4)

    class Recovering(FakePool):
        sick = 0

        def room(self):
            return 0 if self.sick else super().room()

        def wait(self, timeout):
            if self.sick:
                self.sick -= 1
                return []
            events = super().wait(timeout)
            if len(self.submitted) <= 4:
                self.sick = 3
            return events

    lost = []

    def poison(unit):
        lost.append(unit.item.id)
        return "node_lost" if len(lost) <= 4 else None

    assert run(Recovering(2, 2, poison)) == 0
    assert len(rows()) == 4
