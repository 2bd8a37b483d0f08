"""What a run refuses, and what it tells while it runs and at its end."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from fake_pool import FakePool, assemble, transcribe

from asr_batch.jobs.model_choice import Choice
from asr_batch.jobs.run import session


def test_fresh_wants_an_empty_folder(folder, run, capfd):
    root = folder(1)
    (root / "out").mkdir()
    assert run(fresh=True) == 0
    assert run(fresh=True) == 2
    assert "deletes nothing" in capfd.readouterr().err


def test_a_foreign_folder_is_left_alone(folder, run):
    root = folder(1)
    (root / "out/transcripts").mkdir(parents=True)
    (root / "out/transcripts/theirs.parquet").write_bytes(b"x")
    assert run() == 2
    assert (root / "out/transcripts/theirs.parquet").read_bytes() == b"x"


def test_quiet_is_silent_and_says_what_is_wrong(folder, run, capfd):
    folder(1)
    assert run() == 0
    assert capfd.readouterr() == ("", "")
    folder(1, extra="gone,gone.wav,x\n")
    assert run() == 3
    assert "1 failed" in capfd.readouterr().err


def test_log_lines_are_json(folder, run):
    root = folder(1, extra="gone,gone.wav,x\n")
    run()
    entries = [json.loads(line) for line in (root / "out/log.jsonl").read_text().splitlines()]
    assert any(entry.get("error_code") == "not_found" for entry in entries)


def test_status_while_it_runs(folder, run):
    from asr_batch.jobs.views.state import job_state, state_lines

    root = folder(12)
    seen = []

    def look(pool):
        seen.append(job_state(root / "out"))
        assert "running" in state_lines(seen[-1])[0]

    assert run(FakePool(1, 2, on_wait=look)) == 0
    assert {found.state for found in seen} == {"running"}
    assert seen[-1].rows.ok > seen[0].rows.ok
    assert seen[0].held_by.pid == os.getpid()
    assert job_state(root / "out").state == "finished"


def test_a_manifest_of_the_users_own_is_not_written_over(run, folder, capfd):
    made = folder(1)
    before = (made / "manifest.csv").read_bytes()
    assert run(manifest="", sources=(str(made),), out=".") == 2
    assert "was not written by `run`" in capfd.readouterr().err
    assert (made / "manifest.csv").read_bytes() == before


def test_a_column_that_looks_misspelt_is_warned_of(run, tmp_path, capfd):
    (tmp_path / "0.wav").write_bytes(b"audio")
    (tmp_path / "manifest.csv").write_text("audio,languge\n0.wav,en\n")
    assert run() == 0
    assert "column languge is passed through without effect; is language meant?" in capfd.readouterr().err


def test_a_model_that_is_fetched_first_does_not_slow_the_job_down(run, folder, monkeypatch):
    def fetched(name, say):
        time.sleep(1.0)
        return Choice(Path("/fake"), None)

    monkeypatch.setattr(session, "choose_model", fetched)
    root = folder(1)
    begun = time.monotonic()
    assert run() == 0
    took = time.monotonic() - begun
    assert json.loads((root / "out/summary.json").read_text())["wall_seconds"] <= took - 1.0


def test_a_run_none_of_whose_files_exists_says_where_it_looked(run, folder, capfd):
    root = folder(2)
    for number in range(2):
        (root / f"{number}.wav").unlink()
    assert run() == 3
    assert f"relative paths start at the manifest's folder, {root}." in capfd.readouterr().err


def test_notes_are_told_at_the_end_and_by_status(folder, run, capfd, monkeypatch):
    """Not by a quiet run; each of a few rows, and how many more."""
    from asr_batch.jobs.views.state import job_state, state_lines

    def noting(unit):
        return replace(transcribe(unit), notes=(f"its language is given as es, but not in {unit.item.id}",))

    def assembled(item, spans):
        return replace(assemble(item, spans), notes=spans[0].notes)

    monkeypatch.setattr("fake_pool.transcribe", noting)
    monkeypatch.setattr("fake_pool.assemble", assembled)
    root = folder(7)
    assert run(quiet=False) == 0
    said = capfd.readouterr().err
    assert said.count("Note on ") == 5
    assert "Note on f0: its language is given as es, but not in f0." in said
    assert "... and notes on 2 more rows: column `notes`." in said
    lines = state_lines(job_state(root / "out"))
    assert "  note on f6: its language is given as es, but not in f6" in lines


def test_rows_that_left_the_manifest_are_not_told(folder, run, capfd):
    folder(50, extra="gone,gone.wav,x\n")
    assert run(quiet=False) == 3
    assert "gone.wav does not exist" in capfd.readouterr().err
    folder(51)
    assert run(quiet=False) == 0
    assert "gone" not in capfd.readouterr().err
