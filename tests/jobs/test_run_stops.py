"""How a run ends: signals, the time limit, gates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fake_pool import FakePool

from asr_batch.jobs.dataset.verify import check_dataset_files, check_rows
from asr_batch.jobs.run import session

HEARD = 0.2
"""Seconds in which the thread that waits for signals has heard one."""


def holds(root):
    assert [*check_dataset_files(root), *check_rows(root)] == []


@pytest.mark.parametrize(
    ("gates", "code"),
    [
        ({"max_failures": "1"}, 3),
        ({"max_failures": "0"}, 4),
        ({"max_failures": "25%"}, 3),
        ({"max_failures": "24%"}, 4),
        ({"min_coverage": 0.9}, 3),
    ],
)
def test_gates(folder, run, gates, code):
    root = folder(3, extra="gone,gone.wav,x\n")
    assert run(**gates) == code
    summary = json.loads((root / "out/summary.json").read_text())
    assert [gate["held"] for gate in summary["gates"]] == [code == 3]


def test_one_signal_ends_the_fetching_of_a_model(folder, run, monkeypatch, capfd):
    root = folder(3)

    def fetch(name, say):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
        raise AssertionError("it went on")

    monkeypatch.setattr(session, "choose_model", fetch)
    assert run() == 130
    assert capfd.readouterr().err == "asr-batch: stopped before any work\n"
    assert not (root / "out").exists()


def test_two_signals_while_workers_start_leave_a_summary(folder):
    """A process of its own, because it ends at once."""
    root = folder(3)
    script = """if True:
        import os, signal, time
        from asr_batch.jobs.config.build import build_config
        from asr_batch.jobs.run import job, session
        def start(config, path):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)
            time.sleep(60)
        given = {"manifest": "manifest.csv", "out": "out", "model": "nano.en"}
        job.run_job(build_config(given), parts=session.Parts(start_pool=start))
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "3 pending of 3 rows; 0:00:00 of audio; stopped; the same command resumes" in done.stderr
    summary = json.loads((root / "out/summary.json").read_text())
    assert (summary["ending"], summary["exit_code"]) == ("stopped", 130)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_and_the_same_command_goes_on(folder, run, rows, number, code):
    root = folder(12)
    waits = []

    def strike(pool):
        waits.append(len(pool.open_units()))
        if len(waits) == 2:
            os.kill(os.getpid(), number)
            time.sleep(HEARD)

    assert run(FakePool(1, 2, on_wait=strike), grace=5.0) == code
    assert 0 < len(rows()) < 12
    assert json.loads((root / "out/summary.json").read_text())["exit_code"] == code
    done = set(rows())
    assert run() == 0
    assert {unit.item.id for unit in run.pool.submitted} == {f"f{i}" for i in range(12)} - done
    holds(root / "out")


class Stuck(FakePool):
    def wait(self, timeout):
        self.on_wait(self)
        return []


def signals(number, times):
    """Sends a signal to this process at each of the first waits: a third one would end it there and then."""
    left = [number] * times

    def send(pool) -> None:
        if left:
            os.kill(os.getpid(), left.pop())
            time.sleep(HEARD)

    return send


def test_a_second_signal_stops_at_once(folder, run):
    folder(3)
    pool = Stuck(on_wait=signals(signal.SIGINT, times=2))
    assert run(pool, grace=1000.0) == 130


def test_no_grace_puts_units_back(folder, run, rows):
    folder(3)
    assert run(Stuck(on_wait=signals(signal.SIGTERM, times=1)), grace=0.0) == 143
    assert run() == 0
    assert len(rows()) == 3


def test_out_of_time_is_a_clean_stop(folder, run, rows):
    root = folder(4)
    assert run(max_hours=0.0) == 0
    summary = json.loads((root / "out/summary.json").read_text())
    assert (summary["ending"], summary["rows"]["pending"]) == ("out of time", 4)
    assert run() == 0
    assert len(rows()) == 4


def test_an_interrupted_run_says_so(folder, run):
    from asr_batch.jobs.views.state import job_state

    root = folder(4)

    class Gone(BaseException):
        pass

    def vanish(pool):
        raise Gone

    with pytest.raises(Gone):
        run(FakePool(on_wait=vanish))
    assert "interrupted" in job_state(root / "out").state


def test_a_signal_before_the_work_starts_nothing(folder, run, monkeypatch, capfd):

    root = folder(2)
    real = session.survey

    def slow(manifest):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(HEARD)
        return real(manifest)

    monkeypatch.setattr(session, "survey", slow)
    assert run() == 143
    assert not (root / "out").exists()
    assert "before any work" in capfd.readouterr().err
