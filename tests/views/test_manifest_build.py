from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from urllib.parse import unquote_to_bytes

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.manifests.reader import open_manifest

ASR = [sys.executable, "-c", "from asr_batch.jobs.cli.main import main; main()"]


def build(*arguments):
    return CliRunner().invoke(main, ["manifest", "build", *map(str, arguments)])


def read(path):
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def tree(tmp_path):
    names = [
        "b.WAV",
        "a/2.flac",
        "a/10.mp3",
        "a/2.mp3",
        "a/notes.txt",
        ".hidden.wav",
        ".git/x.wav",
        "été/ñ.opus",
    ]
    for name in names:
        (tmp_path / "rec" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rec" / name).write_bytes(b"x")
    return tmp_path


def test_one_file_is_not_files(tree):
    assert build(tree / "rec/a/2.flac", "--to", tree / "m.csv").stderr == f"1 audio file in {tree}/m.csv\n"


def test_folder_relative_sorted_unique(tree):
    result = build(tree / "rec", "--to", tree / "m.csv")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "5 audio files" in result.stderr
    lines = read(tree / "m.csv")
    assert [line["audio"] for line in lines] == [
        "rec/a/10.mp3",
        "rec/a/2.flac",
        "rec/a/2.mp3",
        "rec/b.WAV",
        "rec/été/ñ.opus",
    ]
    assert [line["id"] for line in lines] == ["rec/a/10", "rec/a/2", "rec/a/2.mp3", "rec/b", "rec/été/ñ"]


def test_same_file_by_several_ways_is_one_row_and_order_of_arguments_is_no_matter(tree):
    assert (
        build(tree / "rec", tree / "rec/b.WAV", f"{tree}/rec/*/*.mp3", "--to", tree / "1.csv").exit_code == 0
    )
    assert build(f"{tree}/rec/**/*.mp3", tree / "rec/a/..", "--to", tree / "2.csv").exit_code == 0
    assert (tree / "1.csv").read_bytes() == (tree / "2.csv").read_bytes()
    assert len(read(tree / "1.csv")) == 5


def test_globs_files_and_hidden(tree):
    build(f"{tree}/rec/**/*.mp3", "--to", tree / "g.csv")
    assert [line["id"] for line in read(tree / "g.csv")] == ["rec/a/10", "rec/a/2"]
    build(f"{tree}/rec/**", "--to", tree / "all.csv")
    assert len(read(tree / "all.csv")) == 5
    build(f"{tree}/rec/**/*.txt", "--to", tree / "t.csv")
    assert [line["audio"] for line in read(tree / "t.csv")] == ["rec/a/notes.txt"]
    build(tree / "rec/a/notes.txt", "--to", tree / "f.csv")
    assert [line["audio"] for line in read(tree / "f.csv")] == ["rec/a/notes.txt"]
    build(tree / "rec", "--hidden", "--to", tree / "h.csv")
    assert len(read(tree / "h.csv")) == 7
    (tree / "rec" / "odd[1].wav").write_bytes(b"x")
    build(tree / "rec" / "odd[1].wav", "--to", tree / "o.csv")
    assert [line["audio"] for line in read(tree / "o.csv")] == ["rec/odd[1].wav"]


def test_elsewhere_paths_are_absolute(tree):
    build(tree / "rec" / "a", "--to", tree / "other" / "m.csv")
    assert all(line["audio"].startswith("/") for line in read(tree / "other" / "m.csv"))


def test_every_format_says_the_same(tree):
    found = {}
    for name in ("m.csv", "m.tsv", "m.jsonl", "m.parquet", "m.txt", "m.csv.gz", "m.jsonl.gz"):
        assert build(tree / "rec", "--to", tree / name).exit_code == 0
        data = (tree / name).read_bytes()
        found[name] = gzip.decompress(data).decode() if name.endswith(".gz") else data
    lines = read(tree / "m.csv")
    assert [json.loads(line) for line in found["m.jsonl"].splitlines()] == lines
    assert pq.read_table(tree / "m.parquet").to_pylist() == lines
    assert found["m.txt"].decode().splitlines() == [line["audio"] for line in lines]
    assert found["m.csv.gz"].encode() == found["m.csv"]
    assert list(csv.DictReader(io.StringIO(found["m.tsv"].decode()), delimiter="\t")) == lines


def test_names_that_text_cannot_hold_become_urls(tmp_path):
    names = [b"new\nline.wav", b"bad\xff.wav", b" lead.wav", b'quo"te,.wav']
    (tmp_path / "rec").mkdir()
    for name in names:
        (tmp_path / "rec" / os.fsdecode(name)).write_bytes(b"x")
    for form in ("csv", "txt"):
        assert build(tmp_path / "rec", "--to", tmp_path / f"m.{form}").exit_code == 0
    lines = [line["audio"] for line in read(tmp_path / "m.csv")]
    assert (tmp_path / "m.txt").read_text().splitlines() == lines
    paths = {unquote_to_bytes(line.removeprefix("file://")) if "://" in line else line for line in lines}
    folder = os.fsencode(tmp_path / "rec")
    assert {folder + b"/new\nline.wav", folder + b"/bad\xff.wav", 'rec/quo"te,.wav'} <= paths


def test_durations(make, tmp_path):
    pytest.importorskip("asr_batch.pipeline.audio.reader")
    make.tone(tmp_path / "rec" / "a.wav", 1.5)
    (tmp_path / "rec" / "broken.wav").write_bytes(b"no audio")
    result = build(tmp_path / "rec", "--durations", "--to", tmp_path / "m.csv")
    assert result.exit_code == 0, result.output
    assert [line["duration"] for line in read(tmp_path / "m.csv")] == ["1.5", ""]
    assert "gives the reasons): 1" in result.stderr


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        ("rec", "m.xlsx", "unknown format"),
        ("nowhere", "m.csv", "does not exist"),
        ("nowhere/*.wav", "m.csv", "matches nothing"),
        ("rec/.git/none", "m.csv", "does not exist"),
        ("empty", "m.csv", "no audio files"),
        ("rec", "rec/b.WAV/m.csv", "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(tree, path, to, message):
    (tree / "empty").mkdir()
    result = build(tree / path, "--to", tree / to)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tree.glob("m.*"))


def test_standard_output_as_a_command(tree):
    done = subprocess.run(
        [*ASR, "manifest", "build", "rec", "--to", "-"], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [line["audio"] for line in lines][3] == f"{tree}/rec/b.WAV"


def test_example_in_help():
    assert "asr-batch manifest build recordings" in build("--help").output


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "txt", "csv.gz", "txt.gz"])
def test_run_reads_back_what_was_found(tmp_path, form):
    names = [
        b"a.wav",
        b"new\nline.wav",
        b"bad\xff.wav",
        b" lead.wav",
        b"q\"u,o'te%.wav",
        b"#x.wav",
        "été.mp3".encode(),
    ]
    (tmp_path / "rec").mkdir()
    for name in names:
        (tmp_path / "rec" / os.fsdecode(name)).write_bytes(b"x")
    assert build(tmp_path / "rec", "--to", tmp_path / f"m.{form}").exit_code == 0
    items = list(open_manifest(str(tmp_path / f"m.{form}")).rows())
    assert {os.fsencode(item.location) for item in items} == {
        os.fsencode(tmp_path / "rec") + b"/" + n for n in names
    }
    assert len({item.id for item in items}) == len(names)
