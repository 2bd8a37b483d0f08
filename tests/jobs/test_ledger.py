"""The commit protocol: a crash at any instruction, a full disk, a folder that cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from asr_batch.jobs.dataset import files, parts
from asr_batch.jobs.dataset.compaction import compact_parts
from asr_batch.jobs.dataset.ledger import Ledger, Limits
from asr_batch.jobs.dataset.schema import TRANSCRIPTS, conform
from asr_batch.manifests.errors import OutputError


def row(name: str, text: str = "x") -> tuple[dict, list[dict]]:
    windows = [{"id": name, "index": i, "text": f"{text} {i}", "start": i * 1.0} for i in range(2)]
    return {"id": name, "status": "ok", "text": text, "duration": 1.0}, windows


def fill(ledger: Ledger, names: str, text: str = "x") -> None:
    for name in names:
        ledger.add(*row(name, text))
    ledger.commit()


def content(root: Path) -> dict[str, str]:
    """What a reader with the glob sees, checked: each row once, each with its own windows."""
    found: dict[str, str] = {}
    windows: dict[str, list[str]] = {}
    for part in sorted((root / "windows").glob("*.parquet")):
        for entry in pq.read_table(part).to_pylist():
            windows.setdefault(entry["id"], []).append(entry["text"])
    for part in sorted((root / "transcripts").glob("*.parquet")):
        for entry in pq.read_table(part).to_pylist():
            assert entry["id"] not in found, "a row stands twice"
            found[entry["id"]] = entry["text"]
            assert windows.pop(entry["id"]) == [f"{entry['text']} 0", f"{entry['text']} 1"]
    assert not windows, "windows without their row"
    return found


def test_a_part_grows_until_it_is_full(tmp_path):
    ledger = Ledger(tmp_path, limits=Limits(rows=4))
    for names in ("ab", "c", "def", "g"):
        fill(ledger, names)
    assert [pq.read_metadata(p).num_rows for p in sorted((tmp_path / "transcripts").iterdir())] == [6, 1]
    fill(Ledger(tmp_path, limits=Limits(rows=4)), "h")
    assert len(parts.part_names(tmp_path)) == 2
    assert content(tmp_path) == dict.fromkeys("abcdefgh", "x")


def test_rows_are_replaced_where_they_stand(tmp_path):
    fill(Ledger(tmp_path, limits=Limits(rows=2)), "ab")
    fill(Ledger(tmp_path, limits=Limits(rows=2)), "cd")
    ledger = Ledger(tmp_path, limits=Limits(rows=2))
    fill(ledger, "ace", "new")
    assert content(tmp_path) == {"a": "new", "b": "x", "c": "new", "d": "x", "e": "new"}
    assert ledger.find_row("a")[0]["text"] == "new"
    assert ledger.find_row("e")[0]["text"] == "new"
    assert ledger.find_row("zz") is None


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """Only a power cut could tell the difference, and no test can make one."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Crash(BaseException):
    """The process is gone: no handler of ours runs code for it."""


def crash_at(monkeypatch, number: int) -> dict[str, int]:
    """Die just before the `number`th call that changes the disk. After it, nothing may touch the disk."""
    seen = {"calls": 0}

    def guard(real):
        def call(*args, **more):
            seen["calls"] += 1
            if seen["calls"] >= number:
                raise Crash
            return real(*args, **more)

        return call

    monkeypatch.setattr(os, "fsync", guard(os.fsync))
    monkeypatch.setattr(os, "rename", guard(os.rename))
    monkeypatch.setattr(Path, "replace", guard(Path.replace))
    monkeypatch.setattr(Path, "rename", guard(Path.rename))
    monkeypatch.setattr(Path, "unlink", guard(Path.unlink))
    monkeypatch.setattr(Path, "hardlink_to", guard(Path.hardlink_to))
    monkeypatch.setattr(Path, "mkdir", guard(Path.mkdir))
    monkeypatch.setattr(pq, "write_table", guard(pq.write_table))
    monkeypatch.setattr(files, "_exchange", guard(files._exchange))
    monkeypatch.setattr(files.shutil, "rmtree", guard(files.shutil.rmtree))
    return seen


@pytest.mark.parametrize("number", range(1, 27))
def test_a_crash_anywhere_in_a_commit(tmp_path, monkeypatch, number):
    fill(Ledger(tmp_path, limits=Limits(rows=2)), "ab")
    old = dict.fromkeys("ab", "x")
    ledger = Ledger(tmp_path, limits=Limits(rows=2))
    for name in "acd":
        ledger.add(*row(name, "new"))
    new = {**old, **dict.fromkeys("acd", "new")}
    with monkeypatch.context() as patched:
        seen = crash_at(patched, number)
        try:
            ledger.commit()
        except Crash:
            pass
        else:
            assert seen["calls"] < number
    Ledger(tmp_path)
    assert content(tmp_path) in (old, new)
    assert [p.name for p in tmp_path.rglob(".*")] == []


def test_a_crash_in_recovery_and_again(tmp_path, monkeypatch):
    """Every recovery is itself killed one step later than the one before."""
    fill(Ledger(tmp_path, limits=Limits(rows=2)), "ab")
    ledger = Ledger(tmp_path, limits=Limits(rows=2))
    for name in "acd":
        ledger.add(*row(name, "new"))
    with monkeypatch.context() as patched:
        patched.setattr(parts, "_apply", lambda *args: (_ for _ in ()).throw(Crash()))
        with pytest.raises(Crash):
            ledger.commit()
    for number in range(1, 30):
        with monkeypatch.context() as patched:
            crash_at(patched, number)
            try:
                parts.recover(tmp_path)
            except Crash:
                continue
            break
    Ledger(tmp_path)
    assert content(tmp_path) == {"a": "new", "b": "x", "c": "new", "d": "new"}


@pytest.mark.parametrize("number", range(1, 40))
def test_a_crash_anywhere_in_compaction(tmp_path, monkeypatch, number):
    for names in ("ab", "cd", "ef"):
        fill(Ledger(tmp_path, limits=Limits(rows=2)), names)
    with monkeypatch.context() as patched:
        seen = crash_at(patched, number)
        try:
            compact_parts(tmp_path, rows=4)
        except Crash:
            pass
        else:
            assert seen["calls"] < number
    Ledger(tmp_path)
    assert content(tmp_path) == dict.fromkeys("abcdef", "x")
    assert [p.name for p in tmp_path.rglob(".*")] == []


def test_compaction_merges_and_the_ledger_goes_on(tmp_path):
    for names in ("ab", "cd", "ef", "g"):
        fill(Ledger(tmp_path, [("note", pa.string())], {"k": "v"}, Limits(rows=2)), names)
    assert compact_parts(tmp_path, rows=4) == (4, 2)
    assert compact_parts(tmp_path, rows=4) == (2, 2)
    assert pq.read_schema(tmp_path / "transcripts/part-000004.parquet").metadata[b"k"] == b"v"
    ledger = Ledger(tmp_path, limits=Limits(rows=2))
    fill(ledger, "ah", "new")
    assert content(tmp_path) == {**dict.fromkeys("bcdefg", "x"), "a": "new", "h": "new"}


def test_exchange_without_the_system_call(tmp_path, monkeypatch):
    class Libc:
        def __init__(self, *args, **more):
            pass

    monkeypatch.setattr(files.ctypes, "CDLL", Libc)
    for names in ("ab", "cd"):
        fill(Ledger(tmp_path, limits=Limits(rows=2)), names)
    assert compact_parts(tmp_path) == (2, 1)
    assert content(tmp_path) == dict.fromkeys("abcd", "x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "rename", "write_table", "replace"])
def test_an_error_while_writing_loses_nothing(tmp_path, monkeypatch, code, call):
    fill(Ledger(tmp_path), "ab")
    ledger = Ledger(tmp_path)
    ledger.add(*row("a", "new"))
    ledger.add(*row("c", "new"))

    def fail(*args, **more):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        target = {"write_table": (pq, "write_table"), "replace": (Path, "replace")}.get(call, (os, call))
        patched.setattr(*target, fail)
        with pytest.raises(OutputError, match="same command") as caught:
            ledger.commit()
    assert len(str(caught.value).splitlines()) == 1
    again = Ledger(tmp_path)
    assert content(tmp_path) in ({"a": "x", "b": "x"}, {"a": "new", "b": "x", "c": "new"})
    again.add(*row("d"))
    again.commit()
    assert "d" in content(tmp_path)


def test_the_same_ledger_may_try_again_after_a_full_disk(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    ledger.add(*row("a"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(OutputError, match="disk is full"):
            ledger.commit()
    assert list((tmp_path / "windows").iterdir()) == []
    assert ledger.commit() == 1
    assert content(tmp_path) == {"a": "x"}


def test_a_part_without_its_twin_is_kept_but_not_counted(tmp_path):
    fill(Ledger(tmp_path, limits=Limits(rows=1)), "a")
    fill(Ledger(tmp_path, limits=Limits(rows=1)), "b")
    (tmp_path / "windows/part-000002.parquet").unlink()
    ledger = Ledger(tmp_path)
    assert any("no counterpart" in note for note in ledger.notes)
    assert content(tmp_path) == {"a": "x"}
    assert len(list((tmp_path / "transcripts").glob("*.alone"))) == 1


def test_duckdb_and_pandas_read_names_and_types(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pandas = pytest.importorskip("pandas")
    fill(Ledger(tmp_path, [("note", pa.list_(pa.int64()))]), "ab")
    found = duckdb.sql(f"select id, status, segments, finished_at from '{tmp_path}/transcripts/*.parquet'")
    assert len(found.fetchall()) == 2
    assert len(pandas.read_parquet(tmp_path / "transcripts")) == 2
    assert ds.dataset(tmp_path / "windows").count_rows() == 4


def test_values_that_do_not_fit_a_column_cost_no_row(tmp_path):
    ledger = Ledger(tmp_path, [("n", pa.int64()), ("s", pa.string())])
    for name, n, s in (("a", "many", {"k": 1}), ("b", 7, "half a pair \ud800")):
        entry, windows = row(name)
        ledger.add({**entry, "n": n, "s": s}, windows)
    ledger.commit()
    found = {e["id"]: (e["n"], e["s"]) for e in pq.read_table(tmp_path / "transcripts").to_pylist()}
    assert found == {"a": (None, '{"k": 1}'), "b": (7, "half a pair \\ud800")}


def test_a_manifest_column_that_changed_its_type(tmp_path):
    for kind, value, name in (
        (pa.int64(), 1, "a"),
        (pa.float64(), 1.5, "b"),
        (pa.list_(pa.int64()), [2], "c"),
    ):
        ledger = Ledger(tmp_path, [("n", kind)], limits=Limits(rows=1))
        entry, windows = row(name)
        ledger.add({**entry, "n": value}, windows)
        ledger.commit()
    found = {e["id"]: e["n"] for e in pq.read_table(tmp_path / "transcripts").to_pylist()}
    assert found == {"a": "1", "b": "1.5", "c": "[2]"}
    types = {pq.read_schema(p).field("n").type for p in (tmp_path / "transcripts").iterdir()}
    assert types == {pa.string()}


def test_segments_of_an_older_version_get_no_language() -> None:
    kind = TRANSCRIPTS.field("segments").type.value_type
    older = pa.struct([field for field in kind if field.name != "language"])
    segment = {"start": 0.0, "end": 1.0, "text": "yes", "channel": -1, "flags": ["seam"]}
    table = pa.table({"id": ["a"], "segments": pa.array([[segment]], pa.list_(older))})
    (found,) = conform(table, TRANSCRIPTS).to_pylist()
    assert [(s["text"], s["flags"], s["language"]) for s in found["segments"]] == [("yes", ["seam"], None)]
