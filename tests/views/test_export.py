from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from asr_batch.jobs.cli.main import main
from asr_batch.jobs.views.formats import clock, srt, vtt
from asr_batch.jobs.views.names import MAX_BYTES, Names, safe_stem

HOSTILE = [
    "../x",
    "a/b",
    "a_b",
    "/etc/passwd",
    "..",
    ".",
    "",
    " ",
    "x" * 300,
    "x" * 299 + "y",
    "🎙️ été 👩‍👩‍👧",
    "🎙" * 200,
    "CON",
    "con",
    "nul.txt",
    "COM1",
    "-rf",
    "--help",
    "Talk",
    "talk",
    "TALK",
    "cafe\u0301",
    "caf\u00e9",
    "index",
    "Index",
    "line\nbreak\ttab\0nul",
    "trailing. ",
    "C:\\x",
    'a"<b>|?*',
    "\u202egnp.exe",
    ".hidden",
    "~root",
    "$(reboot)",
    "a;b",
]


@pytest.fixture
def hostile(make, tmp_path):
    rows = [make.row(row_id, f"Text number {n}.") for n, row_id in enumerate(HOSTILE)]
    return make.dataset(tmp_path / "job" / "out", rows, parts=3)


def export(dataset, form, to):
    result = CliRunner().invoke(main, ["export", str(dataset), "--format", form, "--to", str(to)])
    assert result.exit_code == 0, result.output
    return result


def index_of(to):
    with (to / "index.csv").open(newline="", encoding="utf-8") as lines:
        return {line["id"]: line for line in csv.DictReader(lines)}


@pytest.mark.parametrize("form", ["srt", "vtt", "txt", "jsonl", "csv"])
def test_hostile_ids_stay_inside_and_apart(hostile, tmp_path, form):
    to = tmp_path / "a" / "b" / "to"
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    export(hostile, form, to)
    index = index_of(to)
    files = {line["file"] for line in index.values()}
    assert set(index) == set(HOSTILE)
    assert len({name.casefold() for name in files}) == len(HOSTILE)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before == {
        to / name for name in [*files, "index.csv"]
    }
    for name in files:
        assert re.fullmatch(rf"[^-~./\\][^/\\:*?\"<>|\x00-\x1f]*\.{form}", name)
        assert len(name.encode()) < 160
    for number, row_id in enumerate(HOSTILE):
        assert f"Text number {number}." in (to / index[row_id]["file"]).read_text()


def test_usual_ids_keep_their_names():
    assert [safe_stem(i) for i in ("dev-0001", "Interview 3 (final)", "2024.01.05_é", "talks/monday")] == [
        "dev-0001",
        "Interview 3 (final)",
        "2024.01.05_é",
        "talks_monday",
    ]


@given(st.lists(st.text(max_size=40), unique=True, max_size=30))
def test_any_ids_give_as_many_names(ids):
    names = Names(ids)
    stems = [names.stem(row_id) for row_id in ids]
    assert len({stem.casefold() for stem in stems}) == len(ids)
    assert all(stem and "/" not in stem and "\0" not in stem for stem in stems)
    assert all(len(stem.encode()) <= MAX_BYTES + 30 for stem in stems)


def test_names_do_not_depend_on_order():
    forwards, backwards = Names(HOSTILE), Names(HOSTILE[::-1])
    there = {row_id: forwards.stem(row_id) for row_id in HOSTILE}
    back = {row_id: backwards.stem(row_id) for row_id in HOSTILE[::-1]}
    assert there == back


def test_a_safe_id_keeps_its_name_beside_others_that_become_it():
    names = Names(["a/b", "a_b", "a:b", "Talk", "talk"])
    assert names.stem("a_b") == "a_b"
    assert names.stem("a/b").startswith("a_b-")
    assert names.stem("Talk") != "Talk"


def test_an_id_made_to_clash_with_a_suffixed_name():
    ids = ["a/b", "a_b"]
    ids += [Names(ids).stem("a/b"), Names(ids).stem("a_b")]
    names = Names(ids)
    assert len({names.stem(row_id) for row_id in ids}) == 4


def test_failed_rows_have_no_file_and_empty_ones_do(make, tmp_path):
    rows = [make.row("good"), make.row("quiet", "", status="empty"), make.row("bad", status="failed")]
    result = export(make.dataset(tmp_path / "out", rows), "srt", tmp_path / "to")
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["good.srt", "index.csv", "quiet.srt"]
    assert (tmp_path / "to" / "quiet.srt").read_text() == ""
    assert index_of(tmp_path / "to")["bad"] == {
        "id": "bad",
        "file": "",
        "status": "failed",
        "error_code": "not_found",
    }
    assert result.stdout == f"{tmp_path / 'to'}\n"
    assert "no file: 1" in result.stderr


def test_a_link_in_the_way_is_replaced_not_followed(make, tmp_path):
    target = tmp_path / "precious"
    target.write_text("keep")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.txt").symlink_to(target)
    export(make.dataset(tmp_path / "out", [make.row("a")]), "txt", tmp_path / "to")
    assert target.read_text() == "keep"
    assert (tmp_path / "to" / "a.txt").read_text() == "Hello there.\n"


def test_uncommitted_parts_are_not_read(make, tmp_path):
    out = make.dataset(tmp_path / "out", [make.row("a")])
    (out / "transcripts" / ".part-7.parquet.tmp").write_bytes(b"half")
    export(out, "txt", tmp_path / "to")
    assert list(index_of(tmp_path / "to")) == ["a"]


def test_srt_and_vtt_by_hand(make):
    segments = [make.segment(0.5, 2.0, " A < B & C --> D"), make.segment(3661.5, 3663.0, "Late.")]
    row = make.row("a", segments=segments, duration=4000.0)
    assert srt(row) == (
        "1\n00:00:00,500 --> 00:00:02,000\nA < B & C -> D\n\n2\n01:01:01,500 --> 01:01:03,000\nLate.\n\n"
    )
    assert vtt(row) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\nA &lt; B &amp; C -&gt; D\n\n"
        "01:01:01.500 --> 01:01:03.000\nLate.\n"
    )


def test_channels_in_srt_and_vtt(make):
    segments = [make.segment(0.0, 2.0, "Hello?", 0), make.segment(3.0, 5.0, "Yes?", 1)]
    row = make.row("a", segments=segments, duration=6.0)
    assert "\n[0] Hello?\n" in srt(row)
    assert "\n<v Channel 1>Yes?\n" in vtt(row)


def test_clock():
    assert clock(0.0004, ",") == "00:00:00,000"
    assert clock(59.9996, ".") == "00:01:00.000"
    assert clock(360000.0, ",") == "100:00:00,000"


def test_jsonl_and_csv_hold_the_segments(make, tmp_path):
    words = [
        {"start": 0.0, "end": 1.0, "word": " Hello", "prob": 0.5},
        {"start": 2.5, "end": 3.0, "word": " you", "prob": 0.5},
    ]
    segments = [
        make.segment(0.0, 2.0, 'Hello, "é"', flags=["low_logprob", "recovered"]),
        make.segment(2.0, 4.0, "you"),
    ]
    out = make.dataset(tmp_path / "out", [make.row("a", segments=segments, words=words)])
    export(out, "jsonl", tmp_path / "to")
    export(out, "csv", tmp_path / "to")
    lines = [json.loads(line) for line in (tmp_path / "to" / "a.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ['Hello, "é"', "you"]
    assert [[word["word"] for word in line["words"]] for line in lines] == [[" Hello"], [" you"]]
    with (tmp_path / "to" / "a.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [(row["start"], row["text"], row["flags"]) for row in rows] == [
        ("0.0", 'Hello, "é"', "low_logprob recovered"),
        ("2.0", "you", ""),
    ]


def test_as_a_command_and_its_errors(make, tmp_path):
    out = make.dataset(tmp_path / "out", [make.row("a")])
    asr = [sys.executable, "-c", "from asr_batch.jobs.cli.main import main; main()"]
    done = subprocess.run(
        [*asr, "export", str(out), "--format", "vtt", "--to", str(tmp_path / "to")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'to'}\n")
    (tmp_path / "file").write_text("")
    for folder, to in [(tmp_path / "none", tmp_path / "to"), (out, tmp_path / "file")]:
        wrong = subprocess.run(
            [*asr, "export", str(folder), "--format", "vtt", "--to", str(to)], capture_output=True, text=True
        )
        assert wrong.returncode == 2
        assert wrong.stdout == ""
        assert "Traceback" not in wrong.stderr


def test_help_ends_with_an_example():
    assert "asr-batch export out --format srt" in CliRunner().invoke(main, ["export", "--help"]).output
