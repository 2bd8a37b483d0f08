"""Files that are no audio, or broken audio: a row with a code and a sentence, never a hang or a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import AUDIO, RATE, FakeRecognizer, check_tiling, row

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.audio.reader import AudioStream, probe, read_samples

CLIP = AUDIO / "dev-0001.flac"


def expect(path: Path | bytes, code: str, words: str) -> None:
    for made in (lambda: probe(path), lambda: AudioStream(path)):
        with pytest.raises(ItemError, match=words) as caught:
            made()
        assert caught.value.code == code
    transcript = row(path, FakeRecognizer())
    assert (transcript.status, transcript.error_code) == ("failed", code)
    assert transcript.error_message
    assert "\n" not in transcript.error_message


@pytest.mark.timeout(20)
def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.wav")
    expect(tmp_path / "fifo.wav", "unreadable", "named pipe")
    expect(tmp_path, "unreadable", "directory")
    expect(Path("/dev/zero"), "unreadable", "device")
    expect(tmp_path / "missing\nname.wav", "not_found", "does not exist")
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere")
    expect(tmp_path / "link.wav", "not_found", "does not exist")
    expect(tmp_path / "nul\0.wav", "not_found", "does not exist")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(CLIP.read_bytes())

    def refuse(*_: object) -> int:  # the tests may run as root, whom nothing refuses
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("asr_batch.pipeline.audio.source.os.open", refuse)
    expect(tmp_path / "a.wav", "unreadable", "no permission")


def test_bytes_that_are_no_sound(tmp_path: Path) -> None:
    jpeg = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb004300") + b"\1" * 64 + b"\xff\xd9"
    for name, data, code in (
        ("zero.wav", b"", "empty_file"),
        ("jpeg.wav", jpeg, "unreadable"),
        ("text.mp3", b"once upon a time " * 99, "unreadable"),
        ("playlist.wav", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "unreadable"),
        ("head.wav", CLIP.read_bytes()[:20], "unreadable"),
    ):
        (tmp_path / name).write_bytes(data)
        expect(tmp_path / name, code, ".")
        expect(data, code, ".")


def test_one_sample_and_a_fifth_of_a_second(save: Callable[..., Path]) -> None:
    tone = (0.1 * np.sin(np.arange(RATE // 5))).astype(np.float32)
    transcript = row(save(tone[:1]), FakeRecognizer())
    assert (transcript.status, transcript.error_code) == ("failed", "too_short")
    transcript = row(save(tone), FakeRecognizer())
    assert transcript.status in ("ok", "empty")
    check_tiling(transcript, 0.0, 0.2)


def test_five_hundred_channels(save: Callable[..., Path], clips: list[tuple[str, np.ndarray]]) -> None:
    path = save(np.repeat(clips[2][1][:, None], 500, axis=1))
    assert probe(path).channels == 500
    transcript = row(path, FakeRecognizer(), channel="499")
    assert transcript.status == "ok"
    transcript = row(path, FakeRecognizer(), channel="500")
    assert (transcript.status, transcript.error_code) == ("failed", "bad_channel")


def test_samples_that_are_no_numbers(save: Callable[..., Path], clips: list[tuple[str, np.ndarray]]) -> None:
    clip = clips[0][1].copy()
    clip[5000:6000] = np.nan
    clip[7000] = np.inf
    transcript = row(save(clip, subtype="FLOAT"), FakeRecognizer())
    assert (transcript.status, transcript.error_code) == ("partial", "unreadable")
    assert "1001 samples" in (transcript.error_message or "")
    check_tiling(transcript, 0.0, len(clip) / RATE)
    transcript = row(save(clip * np.float32(np.nan), subtype="FLOAT"), FakeRecognizer())
    assert (transcript.status, transcript.error_code) == ("failed", "unreadable")
    assert np.abs(read_samples(save(clip * np.float32(1e30), subtype="FLOAT"), 0, 1)).max() <= 4


@pytest.mark.parametrize("format_", ["WAV", "FLAC"])
def test_cut_short(
    save: Callable[..., Path], clips: list[tuple[str, np.ndarray]], tmp_path: Path, format_: str
) -> None:
    path = save(clips[0][1], f"whole.{format_}", format=format_)
    data = path.read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) * 2 // 3])
    transcript = row(tmp_path / "cut", FakeRecognizer())
    assert (transcript.status, transcript.error_code) == ("partial", "unreadable")
    assert "cut short" in (transcript.error_message or "")
    assert 2.5 < transcript.duration < 4
    assert transcript.text
    check_tiling(transcript, 0.0, transcript.duration)


def test_a_size_that_a_pipe_wrote_is_no_damage(save: Callable[..., Path], clips: list) -> None:
    path = save(clips[0][1])
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(data))
    assert row(path, FakeRecognizer()).status == "ok"


def test_names_with_newlines_and_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"two\nlines \xff\xfe.raw")
    (tmp_path / name).write_bytes(CLIP.read_bytes())
    assert row(tmp_path / name, FakeRecognizer()).status == "ok"
    (tmp_path / name).write_bytes(b"")
    transcript = row(tmp_path / name, FakeRecognizer())
    assert transcript.error_code == "empty_file"
    (transcript.error_message or "").encode("utf-8")  # what goes into Parquet must be UTF-8


def test_spans(save: Callable[..., Path], clips: list[tuple[str, np.ndarray]]) -> None:
    path = save(clips[0][1])
    length = len(clips[0][1]) / RATE
    for start, end, code in ((99.0, None, "bad_span"), (3.0, 2.0, "bad_span")):
        assert row(path, FakeRecognizer(), start=start, end=end).error_code == code
    transcript = row(path, FakeRecognizer(), start=1.0, end=99.0)
    assert (transcript.status, transcript.error_code) == ("partial", "bad_span")
    check_tiling(transcript, 1.0, length)
    transcript = row(path, FakeRecognizer(), start=1.25, end=3.5)
    assert transcript.status == "ok"
    check_tiling(transcript, 1.25, 3.5)
    assert all(1.25 <= s.start <= s.end <= 3.5 for s in transcript.segments)
