"""A folder keeps its job: model, settings, manifest; what is another job stops before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asr_batch.jobs.cli.main import COMMANDS, SUMMARIES, main

CLIPS = Path(__file__).parents[1] / "data/audio"


def call(*args, cwd):
    command = [sys.executable, "-m", "asr_batch.jobs", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def manifest(folder: Path, rows, name="manifest.csv") -> None:
    (folder / name).write_text("id,audio\n" + "".join(f"{row_id},{audio}\n" for row_id, audio in rows))


def test_another_setting_is_refused_in_one_sentence_and_redone_when_asked(folder, run, rows, capfd):
    folder(3)
    assert run() == 0
    assert run(language="de") == 2
    said = capfd.readouterr().err
    assert "belongs to a job without --language, not with --language de" in said
    assert "--redo" in said
    assert run.pool.submitted == []
    assert run(language="de", redo=True) == 0
    assert len(run.pool.submitted) == 3
    assert run() == 0  # what is not named is the folder's own now
    assert run.pool.submitted == []


def test_an_unrelated_manifest_is_refused(folder, run, capfd, tmp_path):
    root = folder(3)
    assert run() == 0
    manifest(root, [("other1", "0.wav"), ("other2", "1.wav")], "other.csv")
    assert run(manifest="other.csv") == 2
    assert "other.csv" in capfd.readouterr().err
    (root / "x").mkdir()
    for number in range(3):
        (root / f"x/y{number}.wav").write_bytes(b"more audio %d" % number)
    manifest(root, [(f"f{i}", f"x/y{i}.wav") for i in range(3)], "clash.csv")  # same ids, other files
    assert run(manifest="clash.csv") == 2
    assert run(manifest="other.csv", redo=True) == 0


@pytest.mark.parametrize("rows_now", [[0, 1, 2, 3, 4, 5], [1], [2, 0, 1]])
def test_a_manifest_that_grew_shrank_or_moved_is_the_same_job(folder, run, rows_now):
    root = folder(6)
    manifest(root, [(f"f{i}", f"{i}.wav") for i in range(3)])
    assert run() == 0
    (root / "sub").mkdir()
    manifest(root, [(f"f{i}", f"../{i}.wav") for i in rows_now], "sub/moved.csv")
    assert run(manifest="sub/moved.csv") == 0


def test_entirely_new_rows_under_the_same_path_are_the_same_job(folder, run, monkeypatch, tmp_path):
    root = folder(4)
    manifest(root, [("monday1", "0.wav"), ("monday2", "1.wav")])
    assert run() == 0
    manifest(root, [("tuesday1", "2.wav"), ("tuesday2", "3.wav")])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # as cron does
    assert run(manifest="elsewhere/../manifest.csv") == 0
    assert len(run.pool.submitted) == 2
    manifest(root, [("friday1", "2.wav"), ("friday2", "3.wav")], "friday.csv")
    assert run(manifest="friday.csv") == 2


def test_new_files_in_the_same_folder_are_the_same_job_another_folder_is_not(
    folder, run, capfd, monkeypatch, tmp_path
):
    root = folder(2)
    monkeypatch.chdir(root)
    for place in ("monday", "tuesday", "other"):
        (tmp_path / place).mkdir()
    (root / "0.wav").rename(tmp_path / "monday/a.wav")
    assert run(manifest=None, sources=("monday",)) == 0
    (tmp_path / "monday/a.wav").rename(tmp_path / "other/z.wav")
    (root / "1.wav").rename(tmp_path / "monday/b.wav")
    assert run(manifest=None, sources=("monday", "tuesday")) == 0
    capfd.readouterr()
    assert run(manifest=None, sources=("other",)) == 2
    said = capfd.readouterr().err
    assert f"with the sources {tmp_path / 'monday'}, {tmp_path / 'tuesday'}, not the sources other" in said


def test_exit_2_leaves_nothing_behind(tmp_path):
    (tmp_path / "empty.csv").write_text("audio\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/note.txt").write_text("mine")
    manifest(tmp_path, [("a", CLIPS / "dev-0001.flac")])
    for words in (
        ["empty.csv"],
        ["manifest.csv", "--languages", "en,xx"],
        ["manifest.csv", "--language", "de"],
        ["manifest.csv", "--task", "translate"],
        ["manifest.csv", "--window", "90"],
    ):
        for out in ("new", "mine"):
            done = call("run", *words, "--out", out, "--model", "nano.en", cwd=tmp_path)
            assert done.returncode == 2, done.stderr
        assert not (tmp_path / "new").exists()
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["note.txt"]


def test_nothing_to_do_starts_nothing(tmp_path):
    manifest(tmp_path, [("a", CLIPS / "dev-0001.flac")])
    first = call("run", "manifest.csv", "--out", "out", "--quiet", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    before = json.loads((tmp_path / "out/summary.json").read_text())
    script = """if True:
        import sys
        from asr_batch.jobs.cli.main import main
        try:
            main(["run", "manifest.csv", "--out", "out"])
        except SystemExit as end:
            loaded = {"ray", "onnxruntime", "pandas", "asr_batch.workers.child.pool"} & set(sys.modules)
            print(sorted(loaded), end.code)
    """
    again = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert again.stdout.splitlines() == ["out", "[] 0"]
    assert "nothing to do: all rows are done" in again.stderr
    after = json.loads((tmp_path / "out/summary.json").read_text())
    assert after["wall_seconds"] == before["wall_seconds"]
    assert after["rtfx"] == pytest.approx(before["rtfx"], rel=0.02)


def test_help_imports_no_command_and_says_of_each_what_it_does():
    assert SUMMARIES.keys() == COMMANDS.keys()
    script = """if True:
        import sys
        from asr_batch.jobs.cli.main import main
        try:
            main(sys.argv[1:])
        except SystemExit:
            print(sorted({"numpy", "pyarrow", "rich", "ray"} & set(sys.modules)))
    """
    for words in (["--help"], ["run", "--help"]):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_the_list_of_commands_says_what_each_says_of_itself():
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert SUMMARIES[name] == command.get_short_help_str(limit=76)
