"""Audio files, folders and globs in place of a manifest: what counts as which, and which ids rows get."""

from __future__ import annotations

import csv
import errno
import io
import os
from pathlib import Path

import pytest

from asr_batch.manifests.columns import misspelt
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.reader import open_manifest
from asr_batch.manifests.sources import FILE, is_manifest, manifest_of, one_manifest


@pytest.fixture
def tree(tmp_path, monkeypatch):
    names = ["rec/a.wav", "rec/sub/b.mp3", "rec/sub/b.flac", "other/a.wav", "talk.mp3", "rec/notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\1audio")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(data: bytes) -> dict[str, str]:
    return {row["audio"]: row["id"] for row in csv.DictReader(io.StringIO(data.decode()))}


def test_ids_are_the_paths_below_what_was_named(tree):
    found = ids(manifest_of(["rec", "talk.mp3", "o*/*.wav"], tree / "out"))
    assert found == {
        f"{tree}/other/a.wav": "other/a",  # `a` below the glob's folder
        f"{tree}/rec/a.wav": "a",
        f"{tree}/rec/sub/b.flac": "sub/b",
        f"{tree}/rec/sub/b.mp3": "sub/b.mp3",
        f"{tree}/talk.mp3": "talk",
    }


def test_the_same_names_in_two_folders_get_the_folder(tree):
    found = ids(manifest_of(["rec", "other"], tree / "out"))
    assert found[f"{tree}/other/a.wav"] == "a"
    assert found[f"{tree}/rec/a.wav"] == "rec/a"


def test_a_grown_folder_changes_no_id(tree):
    (tree / "out").mkdir()
    first = manifest_of(["rec"], tree / "out")
    (tree / "out" / FILE).write_bytes(first)
    (tree / "rec" / "a.mp3").write_bytes(b"\0")  # sorts before a.wav
    (tree / "rec" / "new.wav").write_bytes(b"\0")
    found = ids(manifest_of(["rec", "other"], tree / "out"))
    assert {audio: found[audio] for audio in ids(first)} == ids(first)
    assert found[f"{tree}/rec/a.mp3"] == "a.mp3"
    assert found[f"{tree}/rec/new.wav"] == "new"
    assert len(set(found.values())) == len(found) == 6


def test_the_manifest_reads_back_wherever_it_lies(tree):
    odd = ["rec/ä b,c.wav", 'rec/q"uote.wav', "rec/tab\t.wav"]
    for name in odd:
        (tree / name).write_bytes(b"\0")
    for folder in (tree / "out", tree):
        folder.mkdir(exist_ok=True)
        (folder / "m.csv").write_bytes(manifest_of(["rec", "https://host/x/y.mp3?z=1"], folder))
        items = list(open_manifest(str(folder / "m.csv")).rows())
        places = {item.location for item in items}
        assert places >= {f"{tree}/{name}" for name in odd}
        assert items[-1].id == "y"
        assert items[-1].location == "https://host/x/y.mp3?z=1"


def test_what_is_a_manifest_and_what_is_audio(tree):
    (tree / "list").write_text("rec/a.wav\n")
    (tree / "sound").write_bytes(b"RIFF\0\0")
    (tree / "m.csv").write_text("audio\n")
    manifests = ["-", "m.csv", "list", "gone.tsv", "gone", "x.jsonl.gz", "https://h/m.csv", "s3://b/list"]
    audio = ["rec", "talk.mp3", "sound", "gone.wav", "re*/*.wav", "**/*", "https://h/a.mp3?k=1"]
    assert [name for name in manifests + audio if is_manifest(name)] == manifests


def test_a_manifest_stands_alone(tree):
    (tree / "m.csv").write_text("audio\n")
    assert one_manifest(["m.csv"]) == "m.csv"
    assert one_manifest(["rec", "talk.mp3"]) is None
    with pytest.raises(ConfigError, match=r"m\.csv is a manifest and cannot be combined"):
        one_manifest(["rec", "m.csv"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["gone.wav"], "gone.wav does not exist"),
        (["rec/*.ogg"], "matches nothing"),
        (["empty"], "no audio files in empty"),
    ],
)
def test_sources_that_name_nothing(tree, given, said):
    (tree / "empty").mkdir()
    with pytest.raises(ConfigError, match=said):
        manifest_of(given, tree / "out")


def test_folders_that_cannot_be_read_are_not_left_out(tree, monkeypatch):
    list_folder = os.scandir

    def closed(path):
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = ids(manifest_of(["rec"], tree / "out"))
    assert found == {f"{tree}/rec/a.wav": "a", f"{tree}/rec/sub": "sub"}
    with pytest.raises(ConfigError, match="rec/sub cannot be read: Permission denied"):
        manifest_of(["rec/sub"], tree / "out")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["audio", "languge"], {"languge": "language"}),
        (["audio", "Language", "strat"], {"Language": "language", "strat": "start"}),
        (["audio", "language", "languge"], {}),  # the role is taken
        (["audio", "speaker", "title", "duration", "next", "ids"], {}),
        (["audio", "chanel", "promt"], {"chanel": "channel", "promt": "prompt"}),
        (["path", "refrence"], {"refrence": "reference"}),
    ],
)
def test_misspelt_columns(names, expected):
    assert misspelt(names) == expected


def test_out_may_lie_in_the_folder(tree):
    found = ids(manifest_of([str(tree / "rec")], tree / "rec" / "out"))
    assert f"{tree}/rec/a.wav" in found
    found = ids(manifest_of([str(tree / "rec")], Path("rec")))
    assert found["sub/b.mp3"] == "sub/b.mp3"
