"""What a person sees while a job runs: when a speed is told, how lines, bar and JSON lines look."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from asr_batch.jobs.console import progress
from asr_batch.jobs.console.messages import Messages
from asr_batch.jobs.console.progress import Bar, JsonLines, Lines, Nothing, line_of, make_progress
from asr_batch.jobs.dataset.summary import LastRun, RowCounts, Summary, View
from asr_batch.jobs.run.ending import failures_text, summary_text
from asr_batch.jobs.run.tracker import Tracker
from asr_batch.workers.pool import NodeStatus

VIEW = View(rows=9, done=4, failed=1, partial=2, audio_seconds=65.0, share=0.5, rtfx=12.34, eta=3661.0)
NODE = NodeStatus("pi-1", "", True, 2, "hailo", audio_seconds=60.0, decode_seconds=6.0)


class Clock:
    """A terminal's views of a job of 100 rows of 10 s each, at times that the test sets."""

    def __init__(self):
        self.now, self.views = 0.0, []
        totals = SimpleNamespace(status=Counter(), audio_seconds=0.0, rows=0)
        self.figures = SimpleNamespace(
            rows=100,
            totals=totals,
            run_rows=0,
            run_audio_seconds=0.0,
            clock=SimpleNamespace(point=lambda *_: None),
        )
        self.driver = SimpleNamespace(
            partial={}, feed=SimpleNamespace(known_seconds=1000.0, known_rows=100, passed=0),
            ledger=SimpleNamespace(waiting=lambda: 0), pool=SimpleNamespace(nodes=list), stop_by=None,
        )  # fmt: skip
        shower = SimpleNamespace(show=self.views.append)
        self.tracker = Tracker(self.figures, shower, lambda _: None, now=lambda: self.now)
        self.tracker.write_every = 1e9
        self.tracker._written = 0.0

    def at(self, now: float, rows: int) -> View:
        self.now = now
        self.figures.run_rows, self.figures.run_audio_seconds = rows, 10.0 * rows
        self.figures.totals.audio_seconds = 10.0 * rows
        self.tracker.tick(self.driver)
        return self.views[-1]


def test_no_speed_is_told_until_it_means_something():
    clock = Clock()
    for now, rows in ((0.0, 0), (5.0, 0), (10.0, 30), (10.5, 30), (12.9, 31)):
        view = clock.at(now, rows)
        assert (view.rtfx, view.eta) == (None, None)
        assert "speed unknown" in line_of(view)


def test_what_came_before_the_clock_began_does_not_count():
    clock = Clock()
    clock.at(10.0, 30)  # 300 s of audio at once, after a start of ten seconds
    view = clock.at(14.0, 38)
    assert view.rtfx == pytest.approx(20.0)  # 80 s in 4 s, not 380 s
    assert view.eta == pytest.approx(620.0 / 20.0)
    assert view.share == pytest.approx(0.38)


def test_a_stall_lowers_the_speed():
    clock = Clock()
    clock.at(10.0, 30)
    fast, slow = clock.at(14.0, 38), clock.at(24.0, 38)
    assert slow.rtfx < fast.rtfx
    assert slow.eta > fast.eta


def test_the_line_of_a_person():
    assert line_of(VIEW) == ("4/9 files, 1 failed, 2 partial, 0:01:05 of audio, 12.3x real time, ETA 1:01:01")
    assert line_of(replace(VIEW, eta=0.2)).endswith("12.3x real time, finishing")
    assert line_of(replace(VIEW, failed=0, partial=0, rtfx=None)) == (
        "4/9 files, 0:01:05 of audio, speed unknown"
    )


def test_a_stop_is_told_at_once_with_the_time_that_files_in_progress_have():
    clock = Clock()
    assert clock.at(1.0, 3).state == "running"
    clock.driver.stop_by = progress.time.monotonic() + 30.0
    view = clock.at(2.0, 3)
    assert (view.state, round(view.stops_in or 0)) == ("stopping", 30)
    stream, as_json = io.StringIO(), io.StringIO()
    for shown in (Lines(stream), JsonLines(as_json)):
        shown.show(replace(view, state="running"))
        shown.show(view)
        shown.show(view)
    assert stream.getvalue() == (
        "3/100 files, 0:00:30 of audio; stopping: files in progress have 30 s to finish, "
        "a second signal stops at once\n"
    )
    assert [json.loads(line)["state"] for line in as_json.getvalue().splitlines()] == ["running", "stopping"]


def test_lines_come_every_30_seconds_with_a_line_per_node(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    lines = Lines(stream)
    for now[0] in (1.0, 29.0, 30.0, 31.0, 59.0, 60.5):
        lines.show(
            replace(VIEW, nodes=(NODE, replace(NODE, node="pi-2", alive=False, note="preparing: 3 s")))
        )
    told = stream.getvalue().splitlines()
    assert len(told) == 2 * 3
    assert told[1] == "  pi-1: 2 workers, hailo, 0:01:00, 10.0x"
    assert told[2].startswith("  pi-2 (preparing): ")


def test_json_lines_end_with_the_last_state():
    stream = io.StringIO()
    shown = JsonLines(stream)
    shown.show(VIEW)
    shown.show(replace(VIEW, done=5))  # too early
    shown.show(replace(VIEW, done=9, state="finished"))
    shown.close()
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(one["event"], one["state"], one["done"]) for one in told] == [
        ("progress", "running", 4), ("progress", "finished", 9),
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_is_a_bar_only_on_a_terminal_that_can_draw_it(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_progress("auto", quiet=False, stream=Terminal()), Lines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_progress("auto", quiet=False, stream=io.StringIO()), Lines)
    assert isinstance(make_progress("auto", quiet=True, stream=Terminal()), Nothing)
    assert isinstance(make_progress("none", quiet=False, stream=Terminal()), Nothing)
    bar = make_progress("auto", quiet=False, stream=Terminal())
    assert isinstance(bar, Bar)
    bar.close()


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_the_bar_fits_any_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    bar = Bar(stream)
    bar.show(VIEW)
    bar.close()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "4/9" in drawn
    assert all(len(line.strip("\r")) <= columns for line in drawn.splitlines())


def test_the_table_shows_names_without_their_common_folder():
    stream = io.StringIO()
    audio = ("/rec/a.wav", "file:///rec/new%0Aline.wav", "file:///rec/latin%E9.wav", "/rec/sub/b.wav")
    rows = [
        {"audio": path, "status": "ok", "duration": 3.0, "text": "hi", "error_message": None}
        for path in audio
    ]
    Messages(stream=stream).table(rows, 0)
    names = [line.partition("  ")[0] for line in stream.getvalue().splitlines()]
    assert names == ["file", "a.wav", "new line.wav", r"latin\xe9.wav", "sub/b.wav"]


def test_rows_of_the_same_file_are_told_apart_by_their_ids():
    stream = io.StringIO()
    row = {"status": "ok", "duration": 3.0, "text": "hi", "error_message": None}
    parts = [("long.wav", "part 1"), ("long.wav", "part 2"), ("other.wav", "other")]
    Messages(stream=stream).table([{**row, "audio": audio, "id": name} for audio, name in parts], 0)
    names = [line.partition("  ")[0] for line in stream.getvalue().splitlines()]
    assert names == ["file", "long.wav (part 1)", "long.wav (part 2)", "other.wav"]


@pytest.mark.parametrize(
    ("status", "text", "error", "told"),
    [
        ("ok", "hello", None, "hello"),
        ("failed", None, "no such file", "no such file"),
        ("partial", "hello", "the file is cut short", "(the file is cut short) hello"),
        ("partial", "", "the file is cut short", "(the file is cut short)"),
    ],
)
def test_the_table_says_why_a_row_is_partial(status, text, error, told):
    stream = io.StringIO()
    row = {"audio": "a.wav", "status": status, "duration": 3.0, "text": text, "error_message": error}
    Messages(stream=stream).table([row], 0)
    assert stream.getvalue().splitlines()[1].partition(" s  ")[2].strip() == told


@pytest.mark.parametrize(("columns", "lines"), [(40, 2), (100, 3)])
def test_a_row_is_one_line_of_a_narrow_terminal(monkeypatch, columns, lines):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    row = {"audio": "a.wav", "status": "ok", "duration": 3.0, "text": "word " * 25, "error_message": None}
    Messages(stream=stream).table([row], 0)
    told = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert len(told) == lines
    assert all(len(line) <= columns for line in told)


def summary(errors=None, total=3, rtfx=2.0, ending="", exit_code=None, **counts):
    return Summary(
        rows=RowCounts(total=total, **counts),
        ending=ending,
        exit_code=exit_code,
        errors=errors or {},
        audio_seconds=60.0,
        run=LastRun(rows=total, rtfx=rtfx),
    )


@pytest.mark.parametrize(
    ("errors", "counts", "told"),
    [
        ({"timeout": 1, "not_found": 2}, {"failed": 3}, "To try them again: `{} --only failed`."),
        ({"not_found": 1}, {"failed": 1}, "After the files are restored or repaired: `{} --only failed`."),
        ({"unreadable": 1}, {"partial": 1}, "After the files are restored or repaired: `{} --only partial`."),
        (
            {"timeout": 2},
            {"failed": 1, "partial": 1},
            "To try them again: `{} --only failed --only partial`.",
        ),
        ({"bad_language": 1}, {"failed": 1}, None),
        ({"unsupported_option": 1}, {"failed": 1}, None),
    ],
)
def test_a_retry_is_named_only_where_it_can_help(tmp_path, errors, counts, told):
    said = failures_text(summary(errors, **counts), tmp_path / "my out")
    assert said.startswith("Reasons: ")
    assert ("retry" in said) == bool(told)
    if told:
        assert re.search(re.escape(told).replace(r"\{\}", r"\S.* retry '\S+ out'"), said)


def test_the_last_sentence():
    assert summary_text(summary(ok=1, total=1, ending="finished", exit_code=0)) == (
        "1 ok of 1 row; 0:01:00 of audio at 2.0x real time; finished"
    )
    assert "real time" not in summary_text(summary(failed=3, rtfx=0.0, ending="finished", exit_code=3))
    assert summary_text(summary(ok=1, ending="stopped", exit_code=143)).endswith(
        "; stopped; the same command resumes"
    )
