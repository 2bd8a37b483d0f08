"""Looks at files in the driver: what hangs or raises costs one row's facts, never the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from pipeline_lab import AUDIO

from asr_batch.jobs.config.fingerprint import Settings
from asr_batch.jobs.dataset import facts
from asr_batch.jobs.dataset.facts import FileFacts, Looks
from asr_batch.jobs.dataset.index import Index
from asr_batch.jobs.run.driver.feed import Feed, Resume
from asr_batch.jobs.run.planning import Planner
from asr_batch.manifests.reader import open_manifest
from asr_batch.manifests.records import AudioItem


@pytest.fixture
def never() -> Iterator[Event]:
    """What a hanging look waits for; set at the end, so that its thread ends too."""
    event = Event()
    yield event
    event.set()


def hangs_on(name: str, never: Event) -> Callable[[str], str]:
    def look(location: str) -> str:
        if name in location:
            never.wait()
        return location.upper()

    return look


@pytest.mark.timeout(20)
def test_a_look_that_hangs_is_given_up_and_its_thread_replaced(never: Event) -> None:
    looks = Looks(hangs_on("hang", never), threads=1, patience=0.2)
    futures = [looks.submit(name) for name in ("a", "hang", "b")]
    assert looks.result(futures[0]) == "A"
    with pytest.raises(TimeoutError, match="in time"):
        looks.result(futures[1])
    assert looks.result(futures[2]) == "B"
    looks.close()


@pytest.mark.timeout(20)
def test_when_all_threads_hang_the_rest_is_not_looked_at(
    never: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "_MOST_STUCK", 3)
    looks = Looks(hangs_on("hang", never), threads=2, patience=0.1)
    futures = [looks.submit(f"hang {index}") for index in range(8)]
    for future in futures:
        with pytest.raises(TimeoutError):
            looks.result(future)
    looks.close()


def test_what_a_look_raises_is_met_by_its_row_and_closing_ends_the_threads() -> None:
    def look(_: str) -> str:
        raise MemoryError("so much")

    before = set(threading.enumerate())

    def ours() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in before]

    looks = Looks(look, threads=3)
    futures = [looks.submit(name) for name in "abcd"]
    for future in futures:
        with pytest.raises(MemoryError):
            looks.result(future)
    looks.close()
    until = time.monotonic() + 10
    while ours() and time.monotonic() < until:
        time.sleep(0.01)
    assert ours() == []


@pytest.mark.timeout(20)
def test_rows_go_on_without_facts(never: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "PATIENCE", 0.2)

    def look(location: str) -> FileFacts:
        if location == "hang":
            never.wait()
        if location == "huge":
            raise MemoryError
        return FileFacts(size=1)

    items = [AudioItem(name, name, name) for name in ("a", "hang", "huge", "b")]
    feed = Feed(
        iter(items),
        Resume(Index.load(Path("/nowhere"), []), "", Settings({"language": None, "task": "transcribe"})),
        looker=look,
    )
    found = []
    while not feed.exhausted:
        task = feed.poll()
        feed.wait(0.05)
        if task is not None:
            found.append((task.item.id, task.facts.size))
    assert found == [("a", 1), ("hang", None), ("huge", None), ("b", 1)]
    feed.close()


@pytest.mark.timeout(20)
def test_a_plan_names_the_row_that_hangs(
    tmp_path: Path, never: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "PATIENCE", 0.2)
    real = facts.probe

    def probe(path: Path) -> object:
        if path.name == "hang.flac":
            never.wait()
        return real(path)

    monkeypatch.setattr("asr_batch.jobs.run.planning.probe", probe)
    for name in ("good.flac", "hang.flac"):
        (tmp_path / name).write_bytes((AUDIO / "dev-0001.flac").read_bytes())
    (tmp_path / "m.csv").write_text("id,audio\na,good.flac\nb,hang.flac\n")
    plan = Planner().run(open_manifest(str(tmp_path / "m.csv")))
    assert plan.rows == 2
    assert plan.errors == {"timeout": 1}
    assert plan.seconds > 1
