"""A folder keeps its job: what is not named is its own, what is named and differs needs `--redo`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fake_pool
import pytest

from asr_batch.jobs.model_choice import Choice
from asr_batch.jobs.run import session
from asr_batch.jobs.run.pools import IdlePool


@pytest.fixture
def models(monkeypatch, tmp_path):
    """Two models by name, whose pools say what they are; the second is the default."""
    chosen = []

    def choose(name: str | None) -> Choice:
        path = tmp_path / "models" / Path(name or "nano").name
        path.mkdir(parents=True, exist_ok=True)
        chosen.append(path.name)
        return Choice(path, None)

    monkeypatch.setattr(session, "choose_model", choose)
    return chosen


def pool_of(tmp_path: Path, name: str) -> fake_pool.FakePool:
    pool = fake_pool.FakePool()
    path = str(tmp_path / "models" / name)
    pool.model = replace(fake_pool.INFO, name=name, path=path, sha256=name * 16)
    return pool


def sentence(capfd) -> str:
    return capfd.readouterr().err.strip()


def test_without_a_model_the_folder_takes_its_own(folder, run, rows, models, tmp_path):
    folder(3)
    assert run(pool_of(tmp_path, "base"), model="base") == 0
    before = rows()
    (tmp_path / "new.wav").write_bytes(b"new")
    with (tmp_path / "manifest.csv").open("a") as stream:
        stream.write("new,new.wav,x\n")
    assert run(pool_of(tmp_path, "base")) == 0
    assert models == ["base", "base"]
    assert [unit.item.id for unit in run.pool.submitted] == ["new"]
    assert {name: row for name, row in rows().items() if name != "new"} == before


def test_another_model_needs_redo(folder, run, rows, models, tmp_path, capfd):
    folder(2)
    run(pool_of(tmp_path, "base"), model="base")
    before = rows()
    assert run(pool_of(tmp_path, "tiny"), model="tiny") == 2
    assert "was made with the model base, not tiny" in sentence(capfd)
    assert rows() == before
    assert run(pool_of(tmp_path, "tiny"), model="tiny", go_on=True) == 0
    assert {row["model"] for row in rows().values()} == {"tiny"}
    assert run(pool_of(tmp_path, "tiny")) == 0, "now the folder is tiny's"
    assert run.pool.submitted == []


def test_a_model_whose_files_changed_is_another(folder, run, rows, models, tmp_path, capfd):
    folder(2)
    run(pool_of(tmp_path, "base"), model="base")
    changed = pool_of(tmp_path, "base")
    changed.model = replace(changed.model, sha256="other")
    assert run(changed) == 2
    assert "files have changed" in sentence(capfd)


def test_settings_not_named_are_the_folders_own(folder, run, rows, tmp_path, capfd):
    folder(2)
    run(language="de", beam_size=3)
    assert run() == 0
    assert run.pool.submitted == []
    assert run(language="fr") == 2
    assert "was made with --language de, not --language fr" in sentence(capfd)
    assert run(word_timestamps=True) == 2
    assert "no --word-timestamps, not --word-timestamps" in sentence(capfd)
    assert run(language="fr", go_on=True) == 0
    assert len(run.pool.submitted) == 2
    options = json.loads((tmp_path / "out/job.json").read_text())["options"]
    assert (options["language"], options["beam_size"]) == ("fr", 3)


def test_an_unrelated_manifest_needs_redo(folder, run, rows, tmp_path, capfd):
    folder(3)
    run()
    (tmp_path / "x.wav").write_bytes(b"x")
    (tmp_path / "other.csv").write_text("id,audio\nx,x.wav\n")
    assert run(manifest="other.csv") == 2
    said = sentence(capfd)
    assert "manifest.csv" in said
    assert "other.csv has none of them" in said
    assert sorted(rows()) == ["f0", "f1", "f2"]
    assert run(manifest="other.csv", go_on=True) == 0
    assert sorted(rows()) == ["f0", "f1", "f2", "x"]


def test_a_manifest_that_grew_shrank_or_moved_is_the_same_job(folder, run, rows, tmp_path):
    folder(4)
    run()
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    (tmp_path / "moved.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "fewer.csv").write_text("\n".join(lines[:2]) + "\n")
    (tmp_path / "more.csv").write_text("\n".join([*lines[:3], "new,0.wav,n"]) + "\n")
    for name in ("moved.csv", "fewer.csv", "more.csv"):
        assert run(manifest=name) == 0
        assert run.pool.submitted == []
    assert sorted(rows()) == ["f0", "f1", "f2", "f3", "new"]


def test_a_nightly_list_under_the_same_name_may_hold_new_rows_alone(folder, run, rows, tmp_path):
    folder(2)
    run()
    (tmp_path / "x.wav").write_bytes(b"x")
    (tmp_path / "manifest.csv").write_text("id,audio,note\nx,x.wav,n\n")
    assert run() == 0
    assert sorted(rows()) == ["f0", "f1", "x"]


def test_nothing_to_do_starts_no_pool(folder, run, tmp_path, monkeypatch, capfd):
    folder(2)
    monkeypatch.setattr(session, "foresee", lambda path, options: fake_pool.INFO)
    run()
    before = json.loads((tmp_path / "out/summary.json").read_text())
    capfd.readouterr()
    run.pool = None
    started = []
    real = session._Session._start
    monkeypatch.setattr(session._Session, "_start", lambda *args: started.append(1) or real(*args))
    assert run(quiet=False) == 0
    assert started == []
    assert "nothing to do: 2 ok of 2 rows" in sentence(capfd)
    after = json.loads((tmp_path / "out/summary.json").read_text())
    assert after["rows"] == before["rows"]
    assert after["rtfx"] == pytest.approx(before["rtfx"], rel=0.05), "a look does not slow the job down"


@pytest.mark.parametrize(
    ("bytes_each", "options", "in_process"),
    [(100, {}, True), (600_000, {}, False), (100, {"workers": 2}, False), (100, {"address": "auto"}, False)],
)
def test_a_short_job_runs_in_this_process(folder, monkeypatch, tmp_path, bytes_each, options, in_process):
    from asr_batch.jobs.config import build_config
    from asr_batch.jobs.dataset.facts import look_at
    from asr_batch.jobs.run.driver import Pace

    folder(2)
    for number in range(2):
        (tmp_path / f"{number}.wav").write_bytes(bytes([number]) * bytes_each)
    monkeypatch.setattr(session, "choose_model", lambda name: Choice(Path("/fake"), None))
    monkeypatch.setattr(session, "foresee", lambda path, options: fake_pool.INFO)
    seen = []

    def start(config, path):
        seen.append(config.no_ray)
        return fake_pool.FakePool()

    def runs() -> None:
        parts = session.Parts(
            start, fake_pool.assemble, fake_pool.split,
            lambda location: look_at(location, prober=lambda path: None), Pace(wait=0.01),
        )  # fmt: skip
        out, manifest = str(tmp_path / "out"), str(tmp_path / "manifest.csv")
        session.run_job(
            build_config({"manifest": manifest, "out": out, "quiet": True, **options}), parts=parts
        )

    runs()
    assert seen == [in_process]


def test_a_job_that_died_is_not_run_in_this_process_again(tmp_path):
    from asr_batch.jobs.run.kept import died

    assert not died(tmp_path)
    (tmp_path / "job.json").write_text("{}")
    assert died(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    assert not died(tmp_path)


def test_an_idle_pool_takes_no_unit():
    pool = IdlePool(fake_pool.INFO)
    assert (pool.open_units(), pool.wait(0), pool.nodes()) == ((), [], [])
