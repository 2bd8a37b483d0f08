"""Usual mistakes, and the sentence that says what was meant."""

from __future__ import annotations

import errno
import json
import re
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.manifests.errors import ModelError
from asr_batch.models.store import archive, store
from asr_batch.models.store.elsewhere import FoundModel
from asr_batch.models.whisper.compile import bundle

CLIP = Path(__file__).parents[1] / "data/audio/dev-0001.flac"


def said(*words: str) -> str:
    done = CliRunner().invoke(main, list(words))
    assert (done.exit_code, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("rum", "talk.mp3"), "there is no command 'rum'; did you mean run?"),
        (("talk.mp3",), "there is no command 'talk.mp3'; to transcribe it: asr-batch run talk.mp3 --out DIR"),
        (("frobnicate",), "there is no command 'frobnicate'\n"),
    ],
)
def test_a_word_that_is_no_command(tmp_path, monkeypatch, words, meant):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.mp3").write_bytes(b"x")
    assert meant in said(*words)


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("id;audio", "'id;audio'; expected commas between the columns, not semicolons"),
        ("id\taudio", "or the ending .tsv of a file with tabs"),
        ("id,adio", "is adio meant to be audio?"),
        ("id,Audio", "or wav, in lower case"),
        ("id,sound", "expected a column named audio or path"),
    ],
)
def test_a_header_without_audio(tmp_path, monkeypatch, header, meant):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text(f"{header}\na,b.wav\n")
    assert meant in said("plan", "m.csv")


def test_watch_without_a_folder():
    assert "FOLDER is missing" in said("watch", "--out", "o")


def test_a_spreadsheet_is_no_audio(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.xlsx").write_bytes(b"PK\x03\x04\0\0\0\xff")
    meant = 'm.xlsx: a spreadsheet; expected its rows as a CSV file; spreadsheets call it "CSV UTF-8"'
    assert meant in said("plan", "m.xlsx")


def test_problems_stand_in_the_order_of_their_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_bytes(b"id,audio,text\na,x.wav,\na,y.wav,\nb,,\nc,z.wav,caf\xe9\n")
    lines = said("plan", "m.csv").splitlines()
    assert [line.partition("line ")[2][0] for line in lines] == ["3", "4", "5"]
    assert r"'caf\xe9'" in lines[2]


def test_a_manifest_in_utf_16_is_named_as_such(tmp_path):
    (tmp_path / "m.csv").write_text("audio\na.wav\n", encoding="utf-16")
    assert 'm.csv: UTF-16; expected UTF-8; spreadsheets call it "CSV UTF-8"' in said(
        "plan", str(tmp_path / "m.csv")
    )


def test_a_folder_that_is_no_model_is_refused_before_any_work(tmp_path, capfd):
    """Weights further down are of something else, and a large folder is not searched to its end."""
    deep = tmp_path / "home" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "model.safetensors").write_bytes(b"x")
    (tmp_path / "home" / "a" / "big.pt").write_bytes(b"x")
    (tmp_path / "m.csv").write_text("audio\na.wav\n")
    out = tmp_path / "out"
    said("run", str(tmp_path / "m.csv"), "--out", str(out), "--model", str(tmp_path / "home"))
    message = capfd.readouterr().err
    assert "home: not a model folder of a known layout (found a); expected bundle.json" in message
    assert not out.exists()


def test_a_folder_that_does_not_exist_is_no_data_set(tmp_path):
    assert "nosuch: no such folder; expected the --out folder" in said("status", str(tmp_path / "nosuch"))


def test_a_glossary_that_is_not_there(tmp_path):
    message = said("run", "x.wav", "--out", str(tmp_path / "o"), "--glossary", str(tmp_path / "terms.txt"))
    assert "terms.txt: cannot be read (No such file or directory); expected one term" in message


def test_a_model_is_listed_once(tmp_path, monkeypatch):
    found = [FoundModel(name, "ctranslate2", "x/y", "r", tmp_path) for name in ("nano.en", "my", "my")]
    monkeypatch.setattr(store, "found_models", lambda: found)
    done = CliRunner().invoke(main, ["models", "list", "--json", "--store", str(tmp_path)])
    names = [row["name"] for row in json.loads(done.stdout)]
    assert names[:2] == ["nano.en", "my"]
    assert len(set(names)) == len(names)


def test_a_provider_that_is_not_there_is_told(tmp_path, capfd):
    words = ["run", str(CLIP), "--out", str(tmp_path), "--model", "nano.en", "--provider", "cuda", "--no-ray"]
    CliRunner().invoke(main, words)
    assert "--provider cuda: ONNX Runtime has none that works here; the CPU did" in capfd.readouterr().err
    CliRunner().invoke(main, words)
    again = capfd.readouterr().err
    assert "nothing to do" in again
    assert "--provider" not in again


def test_a_manifest_far_from_its_files(tmp_path):
    (tmp_path / "m.csv").write_text("audio\na.wav\nb.wav\n")
    shown = CliRunner().invoke(main, ["plan", str(tmp_path / "m.csv")])
    advice = f"None of the files exists; relative paths start at the manifest's folder, {tmp_path}."
    assert (shown.exit_code, advice in shown.stdout) == (0, True)
    (tmp_path / "b.wav").write_bytes(b"")
    assert advice not in CliRunner().invoke(main, ["plan", str(tmp_path / "m.csv")]).stdout


def test_a_header_alone_is_no_manifest_for_plan_either(tmp_path):
    (tmp_path / "m.csv").write_text("audio\n")
    assert "m.csv: no rows; expected at least one below the header" in said("plan", str(tmp_path / "m.csv"))


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
    """A folder in which nothing can be created; root may write anywhere, so the call that does is broken."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", "elsewhere")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.setattr(archive, "replacing", refuse)
    return tmp_path / "there"


def test_a_bundle_has_its_own_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert "notes.txt: exists and is not empty" in said(
        "models", "compile", str(tmp_path), str(tmp_path / "notes.txt")
    )


def test_a_place_where_models_cannot_be_written(tmp_path, unwritable, monkeypatch):
    monkeypatch.setattr(bundle, "read_source", lambda source: None)
    there = str(unwritable)
    refused = f"{there}: cannot be read or written (Read-only file system)"
    assert refused in said("models", "compile", str(tmp_path), there)
    with pytest.raises(ModelError, match=re.escape(refused)):
        archive.export_model(tmp_path, unwritable)
