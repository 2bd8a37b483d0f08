"""Rows of a job: each is done once, and again only if something changed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import fake_pool
from fake_pool import FakePool

from asr_batch.jobs.dataset.verify import check_dataset_files, check_rows
from asr_batch.jobs.views.state import job_state
from asr_batch.manifests.records import Failure


def holds(root):
    assert [*check_dataset_files(root), *check_rows(root)] == []


def test_every_row_once_with_its_windows_and_columns(folder, run, rows):
    root = folder(6)
    assert run() == 0
    found = rows()
    assert sorted(found) == [f"f{i}" for i in range(6)]
    assert [found[f"f{i}"]["note"] for i in range(6)] == [f"n{i}" for i in range(6)]
    assert len(rows("windows")) == 12
    holds(root / "out")
    summary = json.loads((root / "out/summary.json").read_text())
    assert summary["rows"] == {"total": 6, "ok": 6, "empty": 0, "partial": 0, "failed": 0, "pending": 0}
    assert summary["audio_seconds"] == 120.0
    assert summary["exit_code"] == 0
    assert run.pool.closed


def test_done_rows_are_not_done_again(folder, run, rows):
    folder(5)
    run()
    before = rows()
    assert run() == 0
    assert run.pool.submitted == []
    assert rows() == before


def test_a_grown_manifest_does_the_new_rows_only(folder, run, rows):
    root = folder(3)
    run()
    (root / "new.wav").write_bytes(b"new")
    with (root / "manifest.csv").open("a") as stream:
        stream.write("new,new.wav,x\n")
    assert run() == 0
    assert [unit.item.id for unit in run.pool.submitted] == ["new"]
    assert len(rows()) == 4
    assert len(list((root / "out/transcripts").glob("*.parquet"))) == 1


def test_a_gained_column_stands_in_all_parts(folder, run, rows):
    root = folder(3)
    run(part_rows=1)
    text = (root / "manifest.csv").read_text().splitlines()
    more = [f"{line},{'added' if n == 0 else n}" for n, line in enumerate(text)]
    (root / "manifest.csv").write_text("\n".join(more) + "\nnew,0.wav,n,9\n")
    assert run(part_rows=1) == 0
    assert run.pool.submitted == []  # the same audio under a new id is not transcribed again
    assert {row_id: row["added"] for row_id, row in rows().items()}["new"] == "9"


def test_changed_audio_and_changed_settings_redo_what_they_must(folder, run, rows):
    root = folder(4, extra="own,0.wav,x\n")
    (root / "manifest.csv").write_text(
        "id,audio,lang\n" + "".join(f"f{i},{i}.wav,{'de' if i == 3 else ''}\n" for i in range(4))
    )
    run()
    (root / "1.wav").write_bytes(b"other audio")
    os.utime(root / "2.wav", ns=(1, 1))  # touched, same content
    assert run() == 0
    assert [unit.item.id for unit in run.pool.submitted] == ["f1"]
    assert run(language="fr", redo=True) == 0
    assert [unit.item.id for unit in run.pool.submitted] == ["f0", "f1", "f2"]  # f3 has its own language
    assert run(language="fr", workers=3, batch_size=7) == 0
    assert run.pool.submitted == []
    holds(root / "out")


def test_rows_that_left_the_manifest_do_not_count_in_the_state(folder, run, rows):
    root = folder(2, extra="gone,gone.wav,x\n")
    assert run() == 3
    assert job_state(root / "out").rows.failed == 1
    folder(3)
    assert run() == 0
    state = job_state(root / "out")
    assert (state.rows.total, state.rows.ok, state.rows.failed, state.failed) == (3, 3, 0, ())
    assert state.audio_seconds == 60.0
    assert "gone" in rows()


def test_a_deleted_file_does_not_take_its_transcript_along(folder, run, rows):
    root = folder(2)
    run()
    (root / "0.wav").unlink()
    assert run() == 0
    assert rows()["f0"]["status"] == "ok"


def test_a_file_that_appeared_is_done(folder, run, rows):
    root = folder(1, extra="late,late.wav,x\n")
    assert run() == 3
    assert rows()["late"]["error_code"] == "not_found"
    assert run() == 3
    (root / "late.wav").write_bytes(b"late")
    assert run() == 0
    assert [unit.item.id for unit in run.pool.submitted] == ["late"]
    holds(root / "out")


def test_audio_that_fails_is_tried_under_each_of_its_names(folder, run, rows, monkeypatch):
    root, transcribe = folder(1), fake_pool.transcribe
    (root / "copy.wav").write_bytes((root / "0.wav").read_bytes())
    (root / "copy.gsm").write_bytes((root / "0.wav").read_bytes())
    (root / "manifest.csv").write_text("audio\n0.wav\ncopy.wav\ncopy.gsm\n")

    def by_name(unit):
        name = unit.item.audio
        failure = None if name.endswith(".gsm") else Failure("unreadable", f"{name} is no sound")
        return replace(transcribe(unit), failure=failure)

    monkeypatch.setattr(fake_pool, "transcribe", by_name)
    assert run() == 3
    found = {row["audio"]: row["error_message"] for row in rows().values()}
    assert found == {"0.wav": "0.wav is no sound", "copy.wav": "copy.wav is no sound", "copy.gsm": None}
    holds(root / "out")


def test_same_audio_is_transcribed_once(folder, run, rows):
    root = folder(2, extra="twin,0.wav,t\nspan,0.wav,s\n")
    text = (root / "manifest.csv").read_text().splitlines()
    ends = ["end", "", "", "", "5"]
    (root / "manifest.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(text, ends, strict=True)) + "\n")
    assert run() == 0
    assert sorted(unit.item.id for unit in run.pool.submitted) == ["f0", "f1", "span"]
    found = rows()
    assert found["twin"]["text"] == found["f0"]["text"]
    assert found["twin"]["note"] == "t"
    assert sum(window["id"] == "twin" for window in rows("windows")) == 2
    holds(root / "out")


def test_a_long_row_is_put_together_from_its_spans(folder, run, rows):
    folder(names=["long", "short"])
    assert run() == 0
    assert rows()["long"]["duration"] == 30.0
    assert [w["index"] for w in rows("windows") if w["id"] == "long"] == list(range(6))


def test_retry_runs_the_failed_rows_only(folder, run, rows):
    folder(4)
    run(FakePool(poison=lambda unit: "crashed" if unit.item.id in ("f1", "f2") else None))
    assert run() == 3
    assert run.pool.submitted == []
    assert run(again=("failed",)) == 0
    assert sorted(unit.item.id for unit in run.pool.submitted) == ["f1", "f2"]
    assert {row["status"] for row in rows().values()} == {"ok"}


def test_the_order_of_work_changes_no_row(folder, run, rows):
    root = folder(7)
    run()
    lines = (root / "manifest.csv").read_text().splitlines()
    (root / "manifest.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    run(FakePool(3, 1), out="again")
    again = rows(out="again")
    for row_id, row in rows().items():
        for name in ("text", "segments", "audio_sha256", "settings_sha256"):
            assert again[row_id][name] == row[name]


def test_audio_in_place_of_a_manifest_grows(run, rows, tmp_path):
    calls = tmp_path / "calls"
    calls.mkdir()
    for name in ("b", "c"):
        (calls / f"{name}.wav").write_bytes(f"audio {name}".encode())
    assert run(manifest="", sources=(str(calls),)) == 0
    first = {row_id: row["finished_at"] for row_id, row in rows().items()}
    assert sorted(first) == ["b", "c"]
    assert (tmp_path / "out/manifest.csv").read_text() == f"id,audio\nb,{calls}/b.wav\nc,{calls}/c.wav\n"
    (calls / "a.wav").write_bytes(b"audio a")
    assert run(manifest="", sources=(str(calls),)) == 0
    again = {row_id: row["finished_at"] for row_id, row in rows().items()}
    assert {row_id: again[row_id] for row_id in first} == first
    assert sorted(again) == ["a", "b", "c"]


def test_files_are_written_as_rows_end_and_on_resume(run, folder, tmp_path):
    made = folder(3)
    assert run(format="txt,srt") == 0
    texts = sorted((made / "out/txt").iterdir())
    assert [path.name for path in texts] == ["f0.txt", "f1.txt", "f2.txt"]
    assert all(path.read_text() for path in texts)
    texts[1].unlink()
    texts[2].write_text("kept")
    assert run(format="txt,json", beside_audio=False) == 0
    assert texts[1].read_text()
    assert texts[2].read_text() == "kept"
    assert len(list((made / "out/json").iterdir())) == 3
    assert run(format="vtt", beside_audio=True) == 0
    assert {path.name for path in made.glob("*.vtt")} == {"0.vtt", "1.vtt", "2.vtt"}
    assert "0.vtt" in (made / "out/beside.txt").read_text()


def test_a_file_that_cannot_be_written_ends_the_run_and_not_the_rows(run, folder, rows, tmp_path, capfd):
    made = folder(3)
    (made / "out").mkdir()
    (made / "out/txt").write_text("in the way")
    assert run(format="txt") == 1
    assert "writing failed" in capfd.readouterr().err
    assert rows()


def test_one_data_set_has_one_error_rate(run, rows, tmp_path):
    """Summary, a resumed summary, report, diff and SQL over the counts pool in one way."""
    from asr_batch.jobs.views.diff import compare_datasets
    from asr_batch.jobs.views.report.data import gather
    from asr_batch.jobs.views.report.page import _head

    lines = ["id,audio,language,text"]
    said = ["It's twenty-one, Mr. Brown.", "", "zwei grosse rote Haeuser", "nothing", "no such file here"]
    for number, text in enumerate(said):
        if number < 4:
            (tmp_path / f"{number}.wav").write_bytes(f"audio {number}".encode())
        lines.append(f'r{number},{number}.wav,{"de" if number == 2 else "en"},"{text}"')
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    run()
    first = json.loads((tmp_path / "out/summary.json").read_text())
    run()
    again = json.loads((tmp_path / "out/summary.json").read_text())
    table = rows().values()
    scored = [row for row in table if row["reference"] is not None]
    assert {row["id"] for row in scored if row["wer"] is None} == set()
    wer = sum(row["word_errors"] for row in scored) / sum(row["reference_words"] for row in scored)
    cer = sum(row["character_errors"] for row in scored) / sum(row["reference_characters"] for row in scored)
    assert wer > 0.5
    assert wer != cer
    found, same = gather(tmp_path / "out"), compare_datasets(tmp_path / "out", tmp_path / "out")
    assert {first["wer"], again["wer"], found.slices.total.wer, _head(found)["wer"]} == {wer}
    assert {same.errors_a.wer, same.errors_b.wer} == {wer}
    assert {first["cer"], again["cer"], found.slices.total.cer, same.errors_b.cer} == {cer}


def test_terms_that_were_heard_are_counted_by_row_and_in_the_report(run, folder, rows, tmp_path):
    from asr_batch.jobs.views.report.page import write_report

    folder(2)
    first = hashlib.sha256(b"audio 0").hexdigest()[:6]
    (tmp_path / "terms.txt").write_text(f"# names\n{first}\n\nNobody <b>\n{first}  # again\n")
    assert run(glossary=str(tmp_path / "terms.txt")) == 0
    assert rows()["f0"]["glossary"] == [{"term": first, "count": 2}]
    assert rows()["f1"]["glossary"] == []
    job = json.loads((tmp_path / "out/job.json").read_text())
    assert job["settings"]["glossary"] == [first, "Nobody <b>"]
    page = write_report(tmp_path / "out").read_text()
    assert "1 of 2 terms were found" in page
    assert "Not found: <bdi>Nobody &lt;b&gt;</bdi>" in page


def test_prompt_and_glossary_make_rows_anew_and_none_leaves_them(run, folder, rows, tmp_path):
    folder(1)
    run()
    before = rows()["f0"]["settings_sha256"]
    assert "prompt" not in json.loads((tmp_path / "out/job.json").read_text())["settings"]
    run(out="other", prompt="About telephones.")
    assert rows(out="other")["f0"]["settings_sha256"] != before
