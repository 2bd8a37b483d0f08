from __future__ import annotations

import datetime
import gzip
import io
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr_batch.manifests.errors import ManifestError
from asr_batch.manifests.location import Base
from asr_batch.manifests.reader import Manifest, open_manifest


def read(path, **more):
    manifest = open_manifest(str(path), **more)
    checked = list(manifest.check())
    rows = list(manifest.rows())
    assert checked == rows or manifest.renamed
    return rows


def problems(path):
    with pytest.raises(ManifestError) as caught:
        read(path)
    return caught.value.problems


def test_csv_with_bom_crlf_quotes_and_line_breaks(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(
        '\ufeffid,audio,text,note\r\na,x.wav,"He said ""no"", twice","two\nlines"\r\n'
        '\r\nb,"sub/ü,1.wav",,\r\n'.encode()
    )
    one, two = read(path)
    assert (one.id, one.audio, one.reference) == ("a", "x.wav", 'He said "no", twice')
    assert one.location == str(tmp_path / "x.wav")
    assert one.extra == (("note", "two\nlines"),)
    assert (two.line, two.location, two.reference) == (5, str(tmp_path / "sub/ü,1.wav"), None)
    assert two.extra == (("note", ""),)


def test_empty_rows_and_columns_of_a_spreadsheet(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(b"id,audio,note,,\r\na,x.wav,,,\r\n,,,,\r\nb,y.wav,n\r\n,,,,\r\n")
    assert [(item.line, item.id, item.extra) for item in read(path)] == [
        (2, "a", (("note", ""),)),
        (4, "b", (("note", "n"),)),
    ]
    path.write_bytes(b"id,audio,,\r\na,x.wav,,lost\r\n")
    (problem,) = problems(path)
    assert problem.expected == "2 fields as in the header, not 4"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tsv", "path\tlang\na b.wav\ten\n"),
        ("m.jsonl", '{"audio_filepath": "a b.wav", "lang": "en"}\n'),
        ("m.txt", "a b.wav\r\n\n"),
        ("m.lst", "\ufeffa b.wav"),
        ("unknown", '{"wav": "a b.wav"}'),
        ("no-ending", "utt_id,audio_path\na b,a b.wav\n"),
        ("no.ending.tab", "wav\na b.wav\n"),
        ("sniffed-paths", "a b.wav\n"),
        ("array.json", '[{"audio": "a b.wav"}]'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_also_packed(tmp_path, name, content, packed):
    path = tmp_path / (name + (".gz" if packed else ""))
    data = content.encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    (item,) = read(path)
    assert item.id == "a b"
    assert item.location == str(tmp_path / "a b.wav")


def test_nemo_offset_and_duration(tmp_path):
    path = tmp_path / "m.json"
    rows = [
        {"audio_filepath": "a.wav", "offset": 1.1, "duration": 2.2, "text": "hi"},
        {"audio_filepath": "b.wav", "duration": 3.5, "speaker": 7},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    one, two = read(path)
    assert (one.start, one.end, one.reference, one.extra) == (1.1, 3.3, "hi", ())
    assert (two.start, two.end) == (None, None)  # a length alone is a fact, not a span
    assert two.extra == (("duration", 3.5), ("speaker", 7))


def test_parquet_keeps_nested_columns_and_types(tmp_path):
    table = pa.table(
        {
            "audio": ["a.wav", "b.wav"],
            "meta": [{"who": "x", "tags": ["p", "q"]}, None],
            "when": pa.array([datetime.datetime(2020, 1, 1), None], pa.timestamp("ms")),
            "count": pa.array([1, None], pa.int16()),
            "start": [0.5, None],
            "channel": pa.array([1, None], pa.int64()),
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    manifest = open_manifest(str(tmp_path / "m.parquet"))
    facts = manifest.facts()
    assert dict(facts.extra) == {name: table.schema.field(name).type for name in ("meta", "when", "count")}
    one, two = manifest.rows()
    assert (one.start, one.channel, two.start, two.channel) == (0.5, "1", None, "mix")
    assert dict(one.extra)["meta"] == {"who": "x", "tags": ["p", "q"]}
    (tmp_path / "m.parquet.gz").write_bytes(gzip.compress((tmp_path / "m.parquet").read_bytes()))
    assert [item.audio for item in read(tmp_path / "m.parquet.gz")] == ["a.wav", "b.wav"]


def test_jsonl_types_are_merged(tmp_path):
    path = tmp_path / "m.jsonl"
    rows = [
        {"audio": "a", "n": 1, "mixed": 1, "deep": {"a": [1]}, "void": None},
        {"audio": "b", "n": 1.5, "mixed": "x", "late": True},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    extra = dict(open_manifest(str(path)).facts().extra)
    assert extra["n"] == pa.float64()
    assert extra["mixed"] == pa.string()
    assert extra["deep"] == pa.struct([("a", pa.list_(pa.int64()))])
    assert extra["late"] == pa.bool_()
    assert extra["void"] == pa.string()


def test_default_ids_are_unique_and_stable_when_the_manifest_grows(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("audio,id\na.wav,\na.flac,\na.wav,\na.wav,\nb.wav,a\n")
    ids = [item.id for item in read(path)]
    assert open_manifest(str(path)).facts().rows == 5
    assert ids == ["a.wav", "a.flac", "a.wav-2", "a.wav-3", "a"]  # an explicit id is never taken away
    with path.open("a") as stream:
        stream.write("a.mp3,\n")
    assert [item.id for item in read(path)] == [*ids, "a.mp3"]


def test_many_rows_of_one_file_without_ids(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("a.wav\n" * 5000)
    ids = [item.id for item in read(path)]
    assert len(set(ids)) == 5000
    assert ids[:3] == ["a", "a.wav", "a.wav-2"]


@pytest.mark.parametrize(
    ("text", "line", "column", "value", "expected"),
    [
        ("audio,start\na.wav,x\n", 2, "start", "x", "seconds"),
        ("audio,start\na.wav,-1\n", 2, "start", "-1", "seconds"),
        ("audio,start\na.wav,nan\n", 2, "start", "nan", "seconds"),
        ("audio,start,end\na.wav,2,1\n", 2, "end", "1", "after the start"),
        ("audio,start,end\na.wav,2,2\n", 2, "end", "2", "after the start"),
        ("audio,offset,duration\na.wav,2,0\n", 2, "duration", "0", "above 0"),
        ("audio,channel\na.wav,left\n", 2, "channel", "left", "channel number"),
        ("audio,lang\na.wav,Klingon\n", 2, "lang", "Klingon", "language as code or name"),
        ("audio,task\na.wav,sing\n", 2, "task", "sing", "transcribe or translate"),
        ("audio,id\na.wav,x\nb.wav,x\n", 3, "id", "x", "unique"),
        ("audio\n gs://b/a.wav\ngs://b/a.wav\n", 3, "audio", "gs://b/a.wav", "s3://"),
        ("audio,id\n,x\n", 2, "audio", "", "path"),
        ("", 0, "", "empty file", "header"),
        ("id,text\na,b\n", 1, "audio", "id, text", "column named audio"),
        ("audio,id,id\na,b,c\n", 1, "id", "id", "once"),
        ('audio,id\n"a"x,b\n', 2, "", "expected", "RFC 4180"),
        ('audio,id\n"a,b\n', 2, "", "unexpected end", "RFC 4180"),
        ("audio,id\na,b,c\n", 2, "", "a,b,c", "2 fields"),
        ("audio,id\na\n", 2, "", "a", "2 fields"),
    ],
)
def test_unusable_lines_are_named(tmp_path, text, line, column, value, expected):
    path = tmp_path / "m.csv"
    path.write_text(text)
    (problem,) = problems(path)
    assert (problem.line, problem.column) == (line, column)
    assert value in problem.value
    assert expected in problem.expected


def test_all_unusable_lines_are_listed_the_first_twenty_shown(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("audio,start\n" + "a.wav,bad\n" * 30)
    with pytest.raises(ManifestError) as caught:
        read(path)
    assert len(caught.value.problems) == 30
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith(f"{path}: line 2, column 'start': 'bad'")
    assert "10 more" in lines[-1]


@pytest.mark.parametrize("content", ['{"audio": "a"', "[1]", "17", '{"audio": 3}', '{"text": "x"}'])
def test_unusable_json_lines(tmp_path, content):
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio": "a.wav"}\n' + content + "\n")
    assert problems(path)[0].line == 2


def test_file_names_may_hold_any_bytes_other_cells_not(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(b'audio,text\n"a\xff\nb.wav",x\n')
    (item,) = read(path)
    assert os.fsencode(item.location) == os.fsencode(tmp_path) + b"/a\xff\nb.wav"
    assert item.audio == "a\\xff\nb.wav"
    item.id.encode("utf-8")
    path.write_bytes(b"audio,text\na.wav,caf\xe9\n")
    assert problems(path)[0].expected == "text in UTF-8"


def test_file_urls(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("file:///a%20b%FF.wav\nfile://localhost/c.wav\ns3://b/k.wav\nhttps://h/x.wav?a=1\n")
    locations = [item.location for item in read(path)]
    assert os.fsencode(locations[0]) == b"/a b\xff.wav"
    assert locations[1:] == ["/c.wav", "s3://b/k.wav", "https://h/x.wav?a=1"]


@pytest.mark.parametrize("audio", ["file:///etc/passwd", "/etc/passwd", "../../x", "ftp://h/x"])
def test_a_remote_manifest_names_remote_audio_only(tmp_path, audio):
    path = tmp_path / "m.csv"
    path.write_text(f"audio\n{audio}\n")
    manifest = Manifest("https://h/d/m.csv", path, Base("https://h/d", remote=True))
    with pytest.raises(ManifestError, match="remote"):
        list(manifest.check())
    path.write_text("audio\nsub/x.wav\nhttps://other/y.wav\n")
    assert [item.location for item in manifest.check()] == ["https://h/d/sub/x.wav", "https://other/y.wav"]


def test_standard_input(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffaudio\na.wav\n".encode())))
    monkeypatch.chdir(tmp_path)
    (item,) = read("-", spool=tmp_path / "kept")
    assert item.location == str(tmp_path / "a.wav")


def test_missing_folder_and_broken_gzip(tmp_path):
    assert "no such file" in problems(tmp_path / "none.csv")[0].value
    assert "folder" in problems(tmp_path)[0].value
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress(b"audio\n" + b"a.wav\n" * 999)[:-20])
    assert problems(tmp_path / "m.csv.gz")
    (tmp_path / "m.parquet").write_bytes(b"not parquet")
    assert problems(tmp_path / "m.parquet")


CELLS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_what_csv_wrote_is_what_is_read(tmp_path, rows):
    import csv

    path = tmp_path / "m.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["audio", "text", "note"])
        for number, (text, note) in enumerate(rows):
            writer.writerow([f"{number}.wav", text, note])
    items = read(path)
    assert [(item.reference or "", dict(item.extra)["note"]) for item in items] == rows


def test_a_header_alone_is_no_rows(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("audio\n")
    assert read(path) == []
    assert open_manifest(str(path)).facts().rows == 0
