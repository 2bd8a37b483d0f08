from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic, sleep

import pytest
from worker_fakes import FakeTranscriber, unit

from asr_batch.manifests.errors import RetryableError, WorkerFatalError
from asr_batch.models.recognizer import LoadOptions
from asr_batch.workers.local import LocalPool
from asr_batch.workers.pool import UnitDone, UnitsLost, WorkerSpec
from asr_batch.workers.worker import Worker

SPEC = WorkerSpec("/m")
NPU = WorkerSpec("/m", LoadOptions(encoder="hailo"))


def run(pool, units, turns=50):
    """Feed `units` as the pool has room, like the driver; returns its events and fails if any is left."""
    todo, events = list(units), []
    for _ in range(turns):
        while todo and pool.room() > 0:
            pool.submit(todo.pop(0))
        events += pool.wait(0.5)
        if not todo and not pool.open_units():
            return events
    raise AssertionError(f"still open: {pool.open_units()}, not submitted: {todo}")


def done(events):
    return sorted(event.result.key[0] for event in events if isinstance(event, UnitDone))


def lost(events):
    return [event for event in events if isinstance(event, UnitsLost)]


def test_every_unit_comes_back_once(fake_engine):
    pool = LocalPool(SPEC)
    events = run(pool, [unit(f"u{i:02}") for i in range(20)])
    assert done(events) == [f"u{i:02}" for i in range(20)]
    assert pool.nodes()[0].audio_seconds == 20
    assert pool.nodes()[0].occupancy == 0.75


def test_open_units_stay_with_the_worker_between_calls(fake_engine):
    worker = Worker(SPEC, "n")
    first = worker.advance([unit("a"), unit("b"), unit("c")], 0.0)
    assert first.results == ()
    results = worker.advance([], 5.0).results + worker.advance([], 5.0).results
    assert [r.key[0] for r in results] == ["a", "b", "c"]
    assert worker.room() > 0


def test_a_worker_with_room_asks_for_units_before_a_slice_ends_but_only_once(fake_engine, monkeypatch):
    monkeypatch.setattr(FakeTranscriber, "advance", lambda self, seconds: sleep(seconds) or [])
    worker = Worker(SPEC, "n")

    def seconds(units):
        begun = monotonic()
        advance = worker.advance(units, 1.0)
        return monotonic() - begun, advance.room

    took, room = seconds([unit("a")])
    assert took < 0.9
    assert room == 1
    took, _ = seconds([])  # there are none
    assert took >= 1.0
    took, room = seconds([unit("b")])  # no room for a third
    assert took >= 1.0
    assert room == 0


def test_a_unit_that_must_be_alone_runs_alone(fake_engine, monkeypatch):
    seen = []
    advance = FakeTranscriber.advance
    monkeypatch.setattr(
        FakeTranscriber,
        "advance",
        lambda self, s: (seen.append([u.item.id for u in self.open.values()]), advance(self, s))[1],
    )
    pool = LocalPool(SPEC)
    for one in [unit("a"), unit("b"), unit("lone", alone=True), unit("c")]:
        pool.submit(one)
    assert pool.room() == 0
    assert done(run(pool, [])) == ["a", "b", "c", "lone"]
    assert ["lone"] in seen
    assert not any("lone" in names and len(names) > 1 for names in seen)


def test_retryable_error_gives_the_open_units_back_and_goes_on(fake_engine):
    FakeTranscriber.errors["x"] = RetryableError("device is busy")
    pool = LocalPool(SPEC)
    events = run(pool, [unit("x"), unit("a"), unit("b"), unit("c")])
    (event,) = lost(events)
    assert (event.reason, event.culpable, event.message) == ("retryable", False, "device is busy")
    assert "x" in {u.item.id for u in event.units}
    assert sorted(done(events) + [u.item.id for u in event.units]) == ["a", "b", "c", "x"]
    assert len(fake_engine) == 2
    assert fake_engine[0].closed == 1


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [(ValueError("odd"), "crashed", "internal_error"), (MemoryError(), "out_of_memory", "out_of_memory")],
)
def test_unknown_error_suspects_all_but_blames_a_lone_unit(fake_engine, error, reason, code):
    FakeTranscriber.errors["x"] = error
    pool = LocalPool(SPEC)
    (event,) = lost(run(pool, [unit("x"), unit("a")]))
    assert (event.reason, event.culpable, len(event.units)) == (reason, True, 2)
    (result,) = run(pool, [unit("x", alone=True)])
    assert result.result.failure.code == code


def test_fatal_error_retires_the_worker_and_loses_nothing(fake_engine):
    FakeTranscriber.errors["x"] = WorkerFatalError("the device is gone")
    pool = LocalPool(SPEC)
    events = run(pool, [unit("a"), unit("x"), unit("b")])
    (event,) = lost(events)
    assert (event.reason, event.culpable, event.message) == ("worker_fatal", False, "the device is gone")
    assert sorted(done(events) + [u.item.id for u in event.units]) == ["a", "b", "x"]
    assert len(fake_engine) == 2
    for _ in range(2):
        run(pool, [unit("x")])
    with pytest.raises(WorkerFatalError, match="failed 4 times"):
        run(pool, [unit("x")])


def test_npu_results_wait_for_the_probe(fake_engine):
    worker = Worker(NPU, "n")
    busy = worker.advance([unit(f"u{i}") for i in range(3)], 0.001)
    assert busy.results == ()
    results = [r for _ in range(3) for r in worker.advance([], 5.0).results]  # at last idle: confirmed
    assert [r.key[0] for r in (*busy.results, *results)] == ["u0", "u1", "u2"]


def test_npu_results_since_the_last_good_probe_are_decoded_again(fake_engine):
    worker = Worker(NPU, "n")
    fake_engine[0].answers = [False]
    results = []
    for units in ([unit("a"), unit("b")], [], [], [], []):
        results += worker.advance(units, 2.0).results
    assert sorted(r.key[0] for r in results) == ["a", "b"]
    assert {w.encoder_backend for r in results for w in r.windows} == {"cpu"}


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"sound" if self.path == "/ok.wav" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_urls_are_fetched_while_others_decode(fake_engine, url):
    pool = LocalPool(SPEC)
    events = run(pool, [unit("gone", f"{url}/gone.wav"), unit("far", f"{url}/ok.wav"), unit("near")])
    assert done(events) == ["far", "gone", "near"]
    failed = {e.result.key[0]: e.result.failure for e in events if isinstance(e, UnitDone)}
    assert failed["gone"].code == "fetch_failed"
    assert "404" in failed["gone"].message
    assert failed["far"] is None
    pool.close()
