"""Recordings as people have them: each kind of trouble once, told by the samples and by the row."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, row
from sound_files import KINDS, clicks, heard, onsets, raw, write, written

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.records import AudioItem
from asr_batch.pipeline.audio.reader import length_of, probe
from asr_batch.pipeline.windows.spans import split_item

DATA = Path(__file__).parents[1] / "data" / "recordings"
SECONDS = 8
EXPECTED = list(range(1, SECONDS))  # the burst at 0 has no onset in every codec


def taken(path: Path | bytes, **how: object) -> bool:
    """Whether the row finds nothing wrong with the file."""
    transcript = row(path, FakeRecognizer(), **how)
    return transcript.error_code in (None, "uncovered_speech")  # bursts are no speech to speak of


def times_hold(samples: np.ndarray, expected: list[float], within: float = 0.08) -> None:
    found = [second for second in onsets(samples) if second > 0.5]
    assert found == pytest.approx(expected, abs=within)


@pytest.fixture(scope="module")
def tune() -> np.ndarray:
    return clicks(SECONDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_good_files_of_every_kind(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    samples, stream = heard(written(tmp_path, name, tune))
    times_hold(samples, EXPECTED)
    assert not stream.short
    assert stream.damage.seconds <= 0.1
    assert not stream.damage.broken_off
    assert stream.notes == ()


# -- lengths are hints --------------------------------------------------------------------------------


def of_unknown_length(data: bytes) -> bytes:
    """A FLAC file whose header tells no number of samples, as one written into a pipe."""
    place = data.index(b"fLaC") + 4 + 4 + 13
    return data[:place] + bytes([data[place] & 0xF0]) + b"\0\0\0\0" + data[place + 5 :]


def test_a_flac_of_unknown_length(tmp_path: Path, tune: np.ndarray) -> None:
    path = tmp_path / "pipe.flac"
    path.write_bytes(of_unknown_length(written(tmp_path, "a.flac", tune).read_bytes()))
    info = probe(path)
    assert (info.duration, info.seekable) == (0.0, False)
    assert [unit.end for unit in split_item(AudioItem("a", "a", str(path)), info)] == [None]
    samples, stream = heard(path)
    times_hold(samples, EXPECTED)
    assert stream.end == pytest.approx(SECONDS, abs=0.01)
    assert length_of(path) == pytest.approx(SECONDS, abs=0.01)
    assert taken(path)


@pytest.mark.parametrize("told", [(1 << 36) - 1, 1 << 35, 1 << 31])
def test_an_absurd_length_plans_nothing(tmp_path: Path, tune: np.ndarray, told: int) -> None:
    data = bytearray(written(tmp_path, "a.flac", tune).read_bytes())
    place = data.index(b"fLaC") + 21
    data[place] = data[place] & 0xF0 | told >> 32
    data[place + 1 : place + 5] = struct.pack(">I", told & 0xFFFFFFFF)
    units = split_item(AudioItem("a", "a", "a"), probe(bytes(data)))
    assert sum(unit.seconds for unit in units) < 1e6
    assert len(units) == 1
    times_hold(heard(bytes(data))[0], EXPECTED)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.mp3", "a.aac"])
def test_files_one_after_the_other(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    data = written(tmp_path, name, tune).read_bytes()
    samples, stream = heard(data + data)
    assert stream.end == pytest.approx(2 * SECONDS, abs=0.4)
    assert len(onsets(samples)) >= 2 * len(EXPECTED)
    assert not stream.short


def test_a_chain_of_other_rates_and_channels(tmp_path: Path, tune: np.ndarray) -> None:
    first = written(tmp_path, "a.ogg", tune).read_bytes()
    wide = np.stack([np.repeat(tune, 3)] * 2)
    other = write(tmp_path / "b.ogg", [wide], "libvorbis", 48_000, layout="stereo").read_bytes()
    for data in (first + other, other + first, first + written(tmp_path, "a.opus", tune).read_bytes()):
        samples, stream = heard(data)
        assert stream.end == pytest.approx(2 * SECONDS, abs=0.05)
        times_hold(samples, [*EXPECTED, *range(SECONDS, 2 * SECONDS)])


def test_an_mp3_without_a_count_of_frames_and_one_that_counts_too_many(
    tmp_path: Path, tune: np.ndarray
) -> None:
    data = written(tmp_path, "a.mp3", tune).read_bytes()
    xing = max(data.find(b"Xing", 0, 4096), data.find(b"Info", 0, 4096))
    told = struct.unpack(">I", data[xing + 8 : xing + 12])[0]

    def counting(frames: int) -> bytes:
        return data[: xing + 8] + struct.pack(">I", frames) + data[xing + 12 :]

    samples, stream = heard(counting(told + 12))  # 0.4 s more than it holds
    assert not stream.short
    times_hold(samples, EXPECTED, 0.12)
    assert heard(counting(told * 2))[1].short
    assert heard(counting(told // 3))[1].end > SECONDS - 0.1
    headless = data[data.index(data[xing - 21 : xing - 17], xing) :] if xing > 21 else data[xing + 400 :]
    assert heard(headless)[1].end == pytest.approx(SECONDS, abs=0.3)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("riff", [None, 0, 0xFFFFFFFF])
def test_a_recorder_that_was_killed(
    save: Callable[..., Path], tune: np.ndarray, size: int, riff: int | None
) -> None:
    data = bytearray(save(tune).read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", size)
    if riff is not None:
        data[4:8] = struct.pack("<I", riff)
    samples, stream = heard(bytes(data))
    assert stream.end == SECONDS
    assert not stream.short
    assert stream.info.seekable
    times_hold(samples, EXPECTED)
    assert not stream.damage.broken_off
    assert heard(bytes(data[:-1]))[1].damage.broken_off
    assert taken(bytes(data))
    assert row(bytes(data[:-1]), FakeRecognizer()).status == "partial"


def test_a_wav_that_is_really_empty(save: Callable[..., Path]) -> None:
    data = save(np.zeros(0, np.float32)).read_bytes() + b"LIST\4\0\0\0INFO"
    assert row(data, FakeRecognizer()).error_code == "too_short"


def test_cut_short_means_a_second_and_a_hundredth(save: Callable[..., Path], tune: np.ndarray) -> None:
    data = save(tune).read_bytes()
    assert not heard(data[: -RATE * 2 * 9 // 10])[1].short
    assert heard(data[: -RATE * 2 * 11 // 10])[1].short


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au", "a.w64", "a.rf64", "a.caf"])
def test_half_of_an_uncompressed_file(save: Callable[..., Path], tune: np.ndarray, name: str) -> None:
    kind = {"a.rf64": "RF64", "a.w64": "W64"}.get(name)
    data = save(tune, name, **({"format": kind} if kind else {})).read_bytes()
    samples, stream = heard(data[: len(data) // 2])
    times_hold(samples, [1, 2, 3])
    assert stream.short
    assert not heard(data)[1].short


@pytest.mark.parametrize(("subtype", "exact"), [("GSM610", False), ("IMA_ADPCM", False), ("ULAW", True)])
def test_telephony_in_wav(save: Callable[..., Path], tune: np.ndarray, subtype: str, exact: bool) -> None:
    path = save(tune[::2], rate=8000, subtype=subtype)
    samples, stream = heard(path)
    assert stream.info.seekable is exact
    times_hold(samples, EXPECTED)
    assert taken(path)


def test_mp3_in_wav(tmp_path: Path, tune: np.ndarray) -> None:
    samples, stream = heard(write(tmp_path / "a.wav", [tune], "libmp3lame", RATE))
    assert not stream.short
    times_hold(samples, EXPECTED)


# -- raw files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.al", "ALAW"), ("a.ULAW", "ULAW"), ("a.gsm", "GSM610"), ("a.sln", "PCM_16")]
)
def test_raw_files_are_what_their_names_say(
    tmp_path: Path, tune: np.ndarray, name: str, subtype: str
) -> None:
    path = raw(tmp_path / name, tune, subtype)
    times_hold(heard(path)[0], EXPECTED)
    assert taken(path)


def test_raw_g722(tmp_path: Path, tune: np.ndarray) -> None:
    times_hold(heard(write(tmp_path / "a.g722", [tune], "g722", RATE))[0], EXPECTED)


def test_a_header_counts_more_than_a_name(
    save: Callable[..., Path], tune: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "a.gsm").write_bytes(save(tune).read_bytes())
    times_hold(heard(tmp_path / "a.gsm")[0], EXPECTED)


# -- times of the container ---------------------------------------------------------------------------

LATE = ["a.m4a", "a.mkv", "a.webm", "a.ts", "a.wma", "a.flv"]


@pytest.mark.parametrize("name", LATE)
def test_sound_that_starts_late(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    video = 0.0 if name in ("a.wma", "a.flv") else 20.0
    path = written(tmp_path, name, tune, start=5.0, video=video)
    samples, stream = heard(path)
    times_hold(samples, list(range(5, 5 + SECONDS)), 0.12)
    assert not stream.short
    assert stream.damage.seconds == 0


@pytest.mark.parametrize("name", ["a.m4a", "a.mkv", "a.webm"])
def test_twenty_seconds_without_packets(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    path = written(tmp_path, name, tune, gap=(4.5, 20.0))
    samples, stream = heard(path)
    times_hold(samples, [1, 2, 3, 4, 25, 26, 27], 0.12)
    assert (stream.damage.seconds, stream.short) == (0, False)
    transcript = row(path, FakeRecognizer())
    assert transcript.error_code in (None, "uncovered_speech")
    check_tiling(transcript, 0.0, transcript.duration)


def test_packets_that_are_missing(tmp_path: Path, tune: np.ndarray) -> None:
    samples, stream = heard(written(tmp_path, "a.mkv", tune, skip=range(40, 82)))
    times_hold(samples, [second for second in EXPECTED if not 2.4 < second < 5.2], 0.12)
    assert stream.end == pytest.approx(SECONDS, abs=0.2)


# -- damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(KINDS))
def test_half_a_file(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    data = written(tmp_path, name, tune).read_bytes()
    transcript = row(data[: len(data) // 2], FakeRecognizer())
    assert (transcript.status, transcript.error_code) == ("partial", "unreadable")
    assert 2 < transcript.duration < SECONDS - 1
    check_tiling(transcript, 0.0, transcript.duration)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_hole_stays_a_hole(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    data = written(tmp_path, name, clicks(30)).read_bytes()
    first, last = len(data) * 4 // 10, len(data) * 7 // 10
    data = data[:first] + bytes(last - first) + data[last:]
    samples, stream = heard(data)
    assert stream.damage.seconds == pytest.approx(9, abs=5.5)
    late = [second for second in onsets(samples) if second > 25]
    assert late
    assert [second - round(second) for second in late] == pytest.approx([0.0] * len(late), abs=0.2)
    transcript = row(data, FakeRecognizer())
    assert (transcript.status, transcript.error_code) == ("partial", "unreadable")
    assert "damaged" in (transcript.error_message or "")
    assert transcript.coverage < 1
    hole = stream.damage.holes[0]
    assert any(start <= hole[1] and end >= hole[0] for start, end in transcript.uncovered)
    check_tiling(transcript, 0.0, transcript.duration)


# -- tracks and channels ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.m4a", "a.mkv"])
def test_the_default_track_unless_it_is_silent(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    codec, rate = KINDS[name]
    other = np.roll(tune, RATE // 2)
    for tracks, default, expected, note in (
        ([0 * tune, tune], 1, EXPECTED, False),
        ([tune, other], 1, [second + 0.5 for second in range(8)][1:], False),
        ([0 * tune, tune], 0, EXPECTED, True),
    ):
        path = write(tmp_path / name, tracks, codec, rate, default=default)
        assert probe(path).tracks == 2
        samples, stream = heard(path)
        times_hold(samples, expected, 0.12)
        assert any("silent" in one for one in stream.notes) is note
    assert row(path, FakeRecognizer()).notes == stream.notes
    assert np.abs(heard(path, track=0)[0]).max() < 0.01
    assert row(path, FakeRecognizer(), track=0).status == "empty"
    times_hold(heard(path, track=1)[0], EXPECTED, 0.12)
    with pytest.raises(ItemError, match="track 2") as caught:
        probe(path, 2)
    assert caught.value.code == "bad_track"


def test_channels_out_of_phase(save: Callable[..., Path], tune: np.ndarray) -> None:
    path = save(np.stack([tune, -tune], axis=1))
    samples, stream = heard(path)
    times_hold(samples, EXPECTED)
    assert "weaker" in stream.notes[0]
    whole = heard(save(np.stack([tune, -tune], axis=1) + 0.3, "offset.wav", subtype="FLOAT"))[0]
    times_hold(whole, EXPECTED)
    part = heard(path, start=3.3, end=6.1)[0]
    np.testing.assert_allclose(part, samples[round(3.3 * RATE) : round(6.1 * RATE)], atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "speaking"), [(6, 2), (6, 0), (6, 4), (6, 3), (8, 2), (4, 3), (3, 2), (12, 7)]
)
def test_speech_in_one_of_many_channels(
    save: Callable[..., Path], tune: np.ndarray, channels: int, speaking: int
) -> None:
    samples = np.zeros((len(tune), channels), np.float32)
    samples[:, speaking] = tune
    mono = heard(save(samples))[0]
    times_hold(mono, EXPECTED)
    assert np.abs(mono).max() > 0.15


@pytest.mark.parametrize("channels", [6, 8])
def test_surround_sound_in_a_container(tmp_path: Path, tune: np.ndarray, channels: int) -> None:
    path = DATA / "clicks_7.1.m4a"  # made by ffmpeg: PyAV cannot write eight channels either
    if channels == 6:
        samples = np.zeros((channels, len(tune)), np.float32)
        samples[2] = tune
        path = write(tmp_path / "a.m4a", [samples], "aac", RATE, layout="5.1")
    mono, stream = heard(path)
    assert stream.info.channels == channels
    times_hold(mono, EXPECTED)
    assert np.abs(mono).max() > 0.4


def test_two_speakers_on_two_channels_are_mixed_evenly(save: Callable[..., Path], tune: np.ndarray) -> None:
    other = np.roll(tune, RATE // 2)
    samples, stream = heard(save(np.stack([tune, other], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(samples, (tune + other) / 2, atol=1e-6)
    assert stream.notes == ()


# -- what lies under speech ---------------------------------------------------------------------------


@pytest.mark.parametrize(("hertz", "level"), [(0, 0.5), (50, 0.3), (60, 0.3), (25, 0.3)])
def test_offset_and_hum_go_and_the_rest_stays(
    save: Callable[..., Path], clips: list, hertz: float, level: float
) -> None:
    speech = clips[0][1] * 0.05
    time = np.arange(len(speech)) / RATE
    under = level * np.cos(2 * np.pi * hertz * time).astype(np.float32)
    clean = heard(save(speech + under, subtype="FLOAT"))[0]
    rest = (clean - speech)[RATE // 10 : -RATE // 10]
    assert 10 * np.log10(np.square(rest).mean()) < -60
    plain = heard(save(speech + under, subtype="FLOAT"), plain=True)[0]
    np.testing.assert_array_equal(plain, speech + under)


def test_ordinary_speech_keeps_every_bit(save: Callable[..., Path], clips: list) -> None:
    for _, clip in clips:
        np.testing.assert_array_equal(heard(save(clip, subtype="FLOAT"))[0], clip)
