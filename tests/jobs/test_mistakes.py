"""Usual mistakes, and the sentence that says what was meant."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.models.store import store
from asr_batch.models.store.elsewhere import FoundModel


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
        ("id,adio", "is adio meant to be audio?"),
        ("id,Audio", "or wav, in lower case"),
        ("id,sound", "expected a column named audio or path"),
    ],
)
def test_a_header_without_audio(tmp_path, monkeypatch, header, meant):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text(f"{header}\na,b.wav\n")
    assert meant in said("plan", "m.csv")


def test_problems_stand_in_the_order_of_their_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_bytes(b"id,audio,text\na,x.wav,\na,y.wav,\nb,,\nc,z.wav,caf\xe9\n")
    lines = said("plan", "m.csv").splitlines()
    assert [line.partition("line ")[2][0] for line in lines] == ["3", "4", "5"]
    assert r"'caf\xe9'" in lines[2]


def test_a_model_is_listed_once(tmp_path, monkeypatch):
    found = [FoundModel(name, "ctranslate2", "x/y", "r", tmp_path) for name in ("nano.en", "my", "my")]
    monkeypatch.setattr(store, "found_models", lambda: found)
    done = CliRunner().invoke(main, ["models", "list", "--json", "--store", str(tmp_path)])
    names = [row["name"] for row in json.loads(done.stdout)]
    assert names[:2] == ["nano.en", "my"]
    assert len(set(names)) == len(names)
