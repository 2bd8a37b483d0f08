"""`asr-batch watch`: what has settled becomes rows, for ever, in one data set."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import fake_pool
import pytest

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.dataset.facts import look_at
from asr_batch.jobs.model_choice import Choice
from asr_batch.jobs.run import session
from asr_batch.jobs.run.driver import commits
from asr_batch.jobs.watch.arrivals import Arrivals
from asr_batch.jobs.watch.loop import OnceMessages, Pace, watch_folder


def test_a_file_arrives_when_it_has_stopped_growing(tmp_path):
    clock = [0.0]
    arrivals = Arrivals(tmp_path, 5.0, lambda: clock[0])

    def look(at: float) -> list[str]:
        clock[0] = at
        return [path.name for path in arrivals.look()]

    (tmp_path / "a.wav").write_bytes(b"1")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "b.mp3.part").write_bytes(b"1")
    (tmp_path / ".c.wav").write_bytes(b"1")
    assert look(0) == []
    assert look(4) == []
    with (tmp_path / "a.wav").open("ab") as growing:
        growing.write(b"2")
    assert look(6) == []
    assert look(10) == []
    assert look(11) == ["a.wav"]
    assert look(20) == []
    (tmp_path / "a.wav").write_bytes(b"another")
    assert look(21) == []
    assert look(27) == ["a.wav"]
    (tmp_path / "a.wav").unlink()
    assert look(30) == []
    (tmp_path / "a.wav").write_bytes(b"another")
    assert look(31) == []
    assert look(36) == ["a.wav"]


def test_a_folder_that_goes_away_holds_nothing(tmp_path):
    arrivals = Arrivals(tmp_path / "gone", 0.0)
    assert arrivals.look() == []
    assert [error.strerror for error in arrivals.closed] == ["No such file or directory"]


def test_a_folder_that_cannot_be_read_is_told_once(watching, tmp_path, monkeypatch, capfd):
    scan, scans = os.scandir, []

    def closed(path):
        if str(path).endswith("closed"):
            scans.append(path)
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert watching(lambda: (tmp_path / "in/closed").mkdir() or until(lambda: len(scans) > 2))[0] == 143
    assert capfd.readouterr().err.count("in/closed cannot be read: Permission denied") == 1


@pytest.fixture
def watching(monkeypatch, tmp_path):
    """Watch tmp_path/in in this process until `done` says so; returns exit code and the pools started."""
    monkeypatch.setattr(session, "choose_model", lambda name, say: Choice(Path("/fake"), None))
    (tmp_path / "in").mkdir()
    pools: list[fake_pool.FakePool] = []

    def start(config, path):
        pools.append(fake_pool.FakePool())
        return pools[-1]

    def go(steps, **options) -> tuple[int, list[fake_pool.FakePool]]:
        parts = session.Parts(
            start_pool=start,
            assemble=fake_pool.assemble,
            split=fake_pool.split,
            looker=lambda location: look_at(location, prober=lambda path: None),
            pace=commits.Pace(wait=0.01, commit_every=0.0),
        )
        given = {"sources": (str(tmp_path / "in"),), "out": str(tmp_path / "out"), "quiet": True, **options}

        def act() -> None:
            try:
                steps()
            finally:
                if not over.is_set():
                    os.kill(os.getpid(), signal.SIGTERM)

        over, thread = threading.Event(), threading.Thread(target=act)
        thread.start()
        try:
            code = watch_folder(build_config(given), Pace(settle=0.05, interval=0.02), parts)
        finally:
            over.set()
        thread.join()
        return code, pools

    return go


def until(true, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def total(tmp_path) -> int:
    path = tmp_path / "out/summary.json"
    summary = json.loads(path.read_text()) if path.exists() else {"rows": {"total": 0}, "exit_code": None}
    return summary["rows"]["total"] if summary["exit_code"] is not None else 0


def test_files_become_rows_as_they_come_and_keep_them_when_they_go(watching, tmp_path, rows):
    incoming = tmp_path / "in"

    def steps() -> None:
        (incoming / "b.wav").write_bytes(b"audio b")
        until(lambda: total(tmp_path) == 1)
        (incoming / "b.wav").rename(tmp_path / "b.wav")
        (incoming / "a.wav").write_bytes(b"audio a")
        until(lambda: total(tmp_path) == 2)

    code, pools = watching(steps, format="txt")
    assert code == 143
    assert len(pools) == 1  # the models stay
    assert sorted(rows()) == ["a", "b"]
    assert {row["status"] for row in rows().values()} == {"ok"}
    assert [path.name for path in sorted((tmp_path / "out/txt").iterdir())] == ["a.txt", "b.txt"]
    manifest = (tmp_path / "out/manifest.csv").read_text()
    assert manifest == f"id,audio\nb,{incoming}/b.wav\na,{incoming}/a.wav\n"


def test_watching_again_goes_on(watching, tmp_path, rows):
    for name in ("a", "b"):
        (tmp_path / f"in/{name}.wav").write_bytes(f"audio {name}".encode())
        watching(lambda: until(lambda: total(tmp_path) == len(list((tmp_path / "in").iterdir()))))
    assert sorted(rows()) == ["a", "b"]
    assert {row["attempts"] for row in rows().values()} == {1}


def test_the_command_at_the_end_of_each_batch(watching, tmp_path):
    def steps() -> None:
        for name in "ab":
            (tmp_path / f"in/{name}.wav").write_bytes(name.encode())
            until(lambda: (tmp_path / f"told{len(list((tmp_path / 'in').iterdir()))}").exists())

    command = f"cat > {tmp_path}/new && n=$(ls {tmp_path}/in | wc -l) && mv {tmp_path}/new {tmp_path}/told$n"
    code, _ = watching(steps, on_finish=command)
    assert code == 143
    assert json.loads((tmp_path / "told2").read_text())["rows"]["total"] == 2


def test_a_mount_that_comes_back_is_no_news(watching, tmp_path):
    incoming, notes = tmp_path / "in", tmp_path / "notes"

    def runs() -> int:
        log = tmp_path / "out/log.jsonl"
        return log.read_text().count("run started") if log.exists() else 0

    def steps() -> None:
        (incoming / "a.wav").write_bytes(b"audio a")
        until(lambda: total(tmp_path) == 1)
        incoming.rename(tmp_path / "gone")
        time.sleep(0.2)
        (tmp_path / "gone").rename(incoming)
        until(lambda: runs() == 2)
        (incoming / "b.wav").write_bytes(b"audio b")
        until(lambda: total(tmp_path) == 2)

    code, _ = watching(steps, on_finish=f"echo $ASR_BATCH_EXIT_CODE >> {notes}")
    assert code == 143
    assert notes.read_text() in ("0\n0\n", "0\n143\n", "0\n0\n143\n")


@pytest.mark.parametrize("sources", [("gone",), (".", "file.wav"), ("file.wav",)])
def test_only_one_folder_can_be_watched(tmp_path, monkeypatch, capfd, sources):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.wav").write_bytes(b"x")
    assert watch_folder(build_config({"sources": sources, "out": "out"})) == 2
    assert "watch needs one existing folder" in capfd.readouterr().err


def test_a_line_says_why_a_row_is_partial():
    stream = io.StringIO()
    row = {"id": "a", "status": "partial", "duration": 5.6, "text": "hello", "error_message": "cut short"}
    OnceMessages(stream=stream).row(row)
    assert stream.getvalue() == "a  partial  5.6 s  (cut short) hello\n"


def test_stop_requests_have_codes():
    stop = StopRequest()
    stop.ask(signal.SIGTERM)
    assert stop.exit_code == 143
