"""`run --format` and `--beside-audio`: which files are written, where, and what is never written over."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from asr_batch.jobs.dataset.tables import open_transcripts
from asr_batch.jobs.views.beside import Beside
from asr_batch.jobs.views.formats import jsonl, srt, tsv, whisper_json
from asr_batch.jobs.views.row_files import RowFiles, tree_name
from asr_batch.jobs.views.segment_words import by_segment
from asr_batch.manifests.location import Base
from asr_batch.manifests.records import AudioItem


def word(start, end, text, prob=0.9):
    return {"start": start, "end": end, "word": text, "prob": prob}


def items(folder, names):
    return [AudioItem(row_id, audio, f"{folder}/{audio}") for row_id, audio in names.items()]


@pytest.fixture
def beside(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "rec").mkdir()

    def make(names):
        return Beside(tmp_path / "out", Base(str(tmp_path / "rec")), items(tmp_path / "rec", names))

    return make


def found(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_tree_of_the_ids_is_kept(make, tmp_path):
    files = RowFiles(tmp_path, ["srt", "json"])
    for row_id in ("talk", "sub/b", "a/../b", "con/x:y"):
        files.write(make.row(row_id))
    names = found(tmp_path)
    assert {"srt/talk.srt", "json/talk.json", "srt/sub/b.srt"} <= set(names)
    assert len(names) == 8
    assert all(".." not in name and ":" not in name for name in names)


def test_no_two_ids_share_a_path():
    ids = ["a/b", "a//b", "/a/b", "a_b", "a:b", "a?b", "", "/", "x" * 300, "x" * 300 + "y", "é", "e\u0301"]
    assert len({tree_name(row_id) for row_id in ids}) == len(ids)
    assert all(not tree_name(row_id).startswith("/") for row_id in ids)


def test_a_failed_row_takes_its_files_along(make, tmp_path):
    files = RowFiles(tmp_path, ["txt"])
    files.write(make.row("a"))
    files.write(make.row("a", status="failed"))
    files.write(make.row("b", "", status="empty"))
    assert found(tmp_path) == ["txt/b.txt"]


def test_beside_the_audio_with_its_name(make, tmp_path, beside):
    places = beside({"a": "a.wav", "a.mp3": "a.mp3", "u1": "sub/t.flac", "u2": "sub/t.flac"})
    (tmp_path / "rec/sub").mkdir()
    files = RowFiles(tmp_path / "out", ["srt"], places)
    for row_id, audio in {"a": "a.wav", "a.mp3": "a.mp3", "u1": "sub/t.flac", "u2": "sub/t.flac"}.items():
        files.write(make.row(row_id, audio=audio))
    assert found(tmp_path / "rec") == ["a.a.mp3.srt", "a.srt", "sub/t.srt", "sub/t.u2.srt"]
    assert files.text() == "Files: next to their audio"


def test_a_file_of_somebody_else_is_never_written_over(make, tmp_path, beside):
    (tmp_path / "rec/a.srt").write_text("by hand")
    files = RowFiles(tmp_path / "out", ["srt"], beside({"a": "a.wav", "r": "https://h/r.mp3"}))
    files.write(make.row("a", audio="a.wav"))
    files.write(make.row("a", status="failed", audio="a.wav"))
    assert (tmp_path / "rec/a.srt").read_text() == "by hand"
    files.write(make.row("a", audio="a.wav"))
    files.write(make.row("r", audio="https://h/r.mp3"))
    assert {"srt/a.srt", "srt/r.srt"} <= set(found(tmp_path / "out"))
    assert "a.srt was not written by asr-batch" in files.text()


def test_our_own_file_is_replaced_also_by_a_later_run(make, tmp_path, beside):
    for text in ("First.", "Second."):
        RowFiles(tmp_path / "out", ["txt"], beside({"a": "a.wav"})).write(make.row("a", text, audio="a.wav"))
    assert (tmp_path / "rec/a.txt").read_text() == "Second.\n"


def test_a_crash_while_writing_leaves_nothing_beside_the_audio(make, monkeypatch, tmp_path, beside):
    files = RowFiles(tmp_path / "out", ["srt"], beside({"a": "a.wav"}))

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", crash)
        broken.setattr(Path, "unlink", crash)  # nothing is tidied up by a process that is gone
        with pytest.raises(KeyboardInterrupt):
            files.write(make.row("a"))
    assert found(tmp_path / "rec") == [".a.srt.tmp"]
    files.write(make.row("a"))  # as the next run does
    assert found(tmp_path / "rec") == ["a.srt"]


def test_missing_and_stale_files_are_written_on_resume(make, tmp_path):
    out = make.dataset(
        tmp_path / "out", [make.row(row_id) for row_id in "abcd"] + [make.row("f", status="failed")], parts=2
    )
    wanted = "abcf".__contains__
    files = RowFiles(out, ["txt"])
    assert files.write_missing(open_transcripts(out), wanted) == 3
    assert found(out / "txt") == ["a.txt", "b.txt", "c.txt"]
    (out / "txt/a.txt").unlink()
    os.utime(out / "txt/b.txt", (0, 0))
    (out / "txt/c.txt").write_text("kept")
    assert files.write_missing(open_transcripts(out), wanted) == 2
    assert (out / "txt/c.txt").read_text() == "kept"
    assert files.write_missing(open_transcripts(out), wanted) == 0


def test_beside_the_audio_after_a_run_without(make, tmp_path, beside):
    out = make.dataset(tmp_path / "out", [make.row("a")])
    wanted = "a".__contains__
    RowFiles(out, ["txt"]).write_missing(open_transcripts(out), wanted)
    assert RowFiles(out, ["txt"], beside({"a": "a.wav"})).write_missing(open_transcripts(out), wanted) == 1
    assert found(tmp_path / "rec") == ["a.txt"]


def test_json_has_the_keys_of_whispers_own(make):
    segments = [make.segment(0.5, 2.0, "Hello  there."), make.segment(2.5, 4.0, "Yes.")]
    words = [word(0.1, 0.4, "Hello"), word(1.0, 2.2, "there."), word(2.3, 2.45, "Yes.")]
    made = json.loads(whisper_json(make.row("a", segments=segments, words=words)))
    assert list(made) == ["text", "segments", "language"]
    assert made["text"] == "".join(segment["text"] for segment in made["segments"])
    assert list(made["segments"][0]) == [
        *("id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob"),
        *("compression_ratio", "no_speech_prob", "words"),
    ]
    assert [[w["word"] for w in s["words"]] for s in made["segments"]] == [[" Hello", " there."], [" Yes."]]
    assert list(made["segments"][0]["words"][0]) == ["word", "start", "end", "probability"]
    assert "words" not in json.loads(whisper_json(make.row("a")))["segments"][0]


def test_json_puts_no_blanks_where_a_script_has_none(make):
    made = json.loads(whisper_json(make.row("a", "你好")))
    assert made["text"] == "你好"


def test_tsv_in_milliseconds(make):
    row = make.row("a", segments=[make.segment(0.5, 2.0004, "A\tb\nc")])
    assert tsv(row) == "start\tend\ttext\n500\t2000\tA b c\n"


def test_words_outside_their_segment_are_kept(make):
    """Word times lie before the segment's start: five words were lost before."""
    texts = ["one", "two", "three", "four", "five", "six"]
    words = [word(0.1 * n, 0.1 * n + 0.1, text) for n, text in enumerate(texts)]
    row = make.row("a", segments=[make.segment(0.55, 2.0, " ".join(texts))], words=words)
    assert [w["word"] for w in json.loads(jsonl(row))["words"]] == texts
    assert "00:00:00,000 -->" in srt(row)


def test_words_go_to_the_segment_that_says_them(make):
    segments = [make.segment(0.0, 1.0, "yes yes."), make.segment(1.0, 2.0, "yes no"), make.segment(2, 3, "-")]
    words = [word(0.0, 0.4, "yes"), word(0.9, 1.3, "yes."), word(1.3, 1.5, "yes"), word(2.1, 2.2, "no")]
    assert [[w["word"] for w in of] for _, of in by_segment(segments, words)] == [
        ["yes", "yes."],
        ["yes", "no"],
        [],
    ]


def test_words_of_two_channels_at_once(make):
    segments = [make.segment(0.0, 3.0, "left one two", 0), make.segment(0.5, 2.5, "right one three", 1)]
    words = [
        word(0.1, 0.3, "left"),
        word(0.6, 0.9, "right"),
        word(1.0, 1.2, "one"),
        word(1.1, 1.4, "one"),
        word(2.0, 2.2, "three"),
        word(2.6, 2.9, "two"),
    ]
    found = [[w["word"] for w in of] for _, of in by_segment(segments, words)]
    assert found == [["left", "one", "two"], ["right", "one", "three"]]


@pytest.mark.parametrize("seed", range(20))
def test_no_word_is_ever_lost(make, seed):
    rng = random.Random(seed)
    segments, words, at = [], [], 0.0
    for _ in range(40):
        texts = [rng.choice(["so", "yes", "and", "no", "well,"]) for _ in range(rng.randint(1, 8))]
        segments.append(make.segment(at, at + 3, " ".join(texts)))
        for text in texts:
            words.append(word(at + rng.uniform(-1, 1), at + 1.5, text if rng.random() < 0.9 else "odd"))
            at += 0.4
        at += rng.choice([0.0, 2.0, 30.0])
    spread = [w for _, of in by_segment(segments, words) for w in of]
    assert sorted(map(id, spread)) == sorted(map(id, words))
