"""What single containers need: headers that were never finished, counters, orders and blocks that tell."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, row
from sound_files import clicks, heard, onsets, write, written

from asr_batch.pipeline.audio import rumble
from asr_batch.pipeline.audio.decoders.clock import Clock
from asr_batch.pipeline.audio.decoders.decoder import Damage
from asr_batch.pipeline.audio.source import View

SECONDS = 8
EXPECTED = list(range(1, SECONDS))


@pytest.fixture(scope="module")
def tune() -> np.ndarray:
    return clicks(SECONDS)


def at(samples: np.ndarray, expected: list[float], within: float = 0.12) -> None:
    found = [second for second in onsets(samples) if second > 0.5]
    assert found == pytest.approx(expected, abs=within)


# -- CAF ----------------------------------------------------------------------------------------------


def test_a_caf_file_that_was_written_into_a_pipe_or_whose_writer_was_killed(
    save: Callable[..., Path], tune: np.ndarray
) -> None:
    data = save(tune, "a.caf").read_bytes()
    place = data.index(b"data") + 4
    header = data[:place] + struct.pack(">Q", 4) + data[place + 8 : place + 12]
    for changed in (header + data[place + 12 :], header * 2 + data[place + 12 :] + header):
        samples, stream = heard(changed)
        assert stream.end == SECONDS
        at(samples, EXPECTED)
        assert not stream.short
    assert row(header, FakeRecognizer()).error_code == "too_short"


# -- WavPack ------------------------------------------------------------------------------------------


def test_wavpack_goes_on_behind_a_damaged_block(tmp_path: Path) -> None:
    data = written(tmp_path, "a.wv", clicks(30)).read_bytes()
    first = data.index(b"wvpk", len(data) // 3)
    last = data.index(b"wvpk", first + 4)
    for changed in (data[:first] + bytes(last - first) + data[last:], data[:first] + data[last:]):
        samples, stream = heard(changed)
        ((start, end),) = stream.damage.holes
        assert 0.1 < end - start < 6
        assert stream.end == pytest.approx(30, abs=0.01)
        at(samples, [second for second in range(1, 30) if not start - 0.1 < second < end])


# -- AVI ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["libmp3lame", "pcm_s16le"])
def test_sound_of_an_avi_file_that_starts_late(tmp_path: Path, tune: np.ndarray, codec: str) -> None:
    for start in (0.0, 5.0):
        path = write(tmp_path / "a.avi", [tune], codec, RATE, start=start, video=20.0)
        samples, stream = heard(path)
        at(samples, [second + start for second in (EXPECTED if start == 0 else range(SECONDS))], 0.3)
        assert stream.damage.seconds == 0


# -- transport streams --------------------------------------------------------------------------------


def packets_of(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


def test_a_transport_stream_that_lacks_packets(tmp_path: Path, tune: np.ndarray) -> None:
    data = written(tmp_path, "a.ts", tune).read_bytes()
    packets = packets_of(data, 188)
    assert heard(data)[1].damage == Damage()
    third = len(packets) // 3
    for changed in (packets[:third] + packets[2 * third :], [*packets[:third], bytes(188 * third),
                                                              *packets[2 * third :]]):  # fmt: skip
        samples, stream = heard(b"".join(changed))
        assert stream.damage.seconds == pytest.approx(SECONDS / 3, abs=0.6)
        assert [second for second in onsets(samples) if second > 6.5] == pytest.approx([7], abs=0.12)
    assert heard(data[:-50])[1].damage.broken_off
    assert heard(data[50:])[1].damage.seconds < 0.2  # a recording may begin inside a packet


def test_packets_of_192_bytes(tmp_path: Path, tune: np.ndarray) -> None:
    data = written(tmp_path, "a.ts", tune).read_bytes()
    wide = b"".join(struct.pack(">I", index) + packet for index, packet in enumerate(packets_of(data, 188)))
    samples, stream = heard(wide)
    at(samples, EXPECTED)
    assert stream.damage == Damage()
    assert heard(wide[:-100])[1].damage.broken_off


# -- other containers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_the_first_pages_of_an_ogg_file_are_gone(tmp_path: Path, name: str) -> None:
    data = written(tmp_path, name, clicks(30)).read_bytes()
    places = [place for place in range(len(data)) if data.startswith(b"OggS", place)]
    first = next(place for place in places if struct.unpack_from("<q", data, place + 6)[0] > 0)
    last = places[places.index(first) + 2]
    samples, stream = heard(data[:first] + bytes(last - first) + data[last:])
    assert stream.damage.holes[0][0] == 0
    assert stream.end == pytest.approx(30, abs=0.1)
    late = [second for second in onsets(samples) if second > 25]
    assert late == pytest.approx([26, 27, 28, 29], abs=0.12)


def test_a_hole_between_two_tags_of_an_flv_file(tmp_path: Path) -> None:
    data = written(tmp_path, "a.flv", clicks(30)).read_bytes()
    place, borders = 13, []
    while place < len(data):
        borders.append(place)
        place += 15 + int.from_bytes(data[place + 1 : place + 4], "big")
    first, last = borders[len(borders) // 3], borders[len(borders) // 2]
    samples, stream = heard(data[:first] + bytes(last - first) + data[last:])
    assert stream.damage.seconds == pytest.approx(5, abs=0.3)
    assert [second for second in onsets(samples) if second > 25.5] == pytest.approx([26, 27, 28, 29], abs=0.1)
    assert heard(data)[1].damage == Damage()
    assert heard(data[: first + 5])[1].short


@pytest.mark.parametrize("name", ["a.amr", "a.3gp"])
def test_amr(tmp_path: Path, tune: np.ndarray, name: str) -> None:
    path = write(tmp_path / name, [tune[::2]], "libopencore_amrnb", 8000, bit_rate=12_200)
    samples, stream = heard(path)
    assert stream.info.codec == "amrnb"
    at(samples, EXPECTED)
    data = path.read_bytes()
    if name == "a.amr":
        assert heard(data[: len(data) // 2 - 7])[1].damage.broken_off


def test_fragments_and_their_first_half(tmp_path: Path, tune: np.ndarray) -> None:
    data = write(tmp_path / "a.mp4", [tune], "aac", RATE).read_bytes()
    at(heard(data)[0], EXPECTED)
    assert row(data[: len(data) // 2], FakeRecognizer()).status == "partial"


def test_adpcm_in_aiff_is_held_to_its_samples_not_to_its_packets(tmp_path: Path, tune: np.ndarray) -> None:
    data = write(tmp_path / "a.aif", [tune], "adpcm_ima_qt", RATE).read_bytes()
    stream = heard(data)[1]
    assert stream.info.promised == pytest.approx(SECONDS, abs=0.01)
    assert not stream.short
    assert heard(data[: len(data) // 2])[1].short


def test_a_torn_last_frame_within_the_length_of_the_header(tmp_path: Path, tune: np.ndarray) -> None:
    """Less than a second is missing, and the header vouches for that."""
    data = written(tmp_path, "a.mp3", tune).read_bytes()
    assert not heard(data[:-500])[1].damage.broken_off
    assert not heard(data[:-500])[1].short


# -- parts --------------------------------------------------------------------------------------------


def test_a_time_that_jumps_and_comes_back_is_named() -> None:
    damage = Damage()
    clock = Clock(0.0, 0.0, damage)
    for time in (0.0, 0.1, 0.2, 5.9, 0.4):
        clock.place(time, 0.1, False)
    assert (clock.restarts, clock.undone) == (1, 1)
    clock = Clock(0.0, 0.0, damage)
    for time in (0.0, 0.1, 0.2, 0.0, 0.1, 60.0, 60.1):  # a file behind a file, then a pause
        clock.place(time, 0.1, False)
    assert clock.undone == 0
    assert damage.holes == []


def test_holes_may_come_in_any_order() -> None:
    damage = Damage()
    for start, end in ((5.0, 6.0), (1.0, 2.0), (8.0, 9.0), (1.9, 3.0), (2.5, 5.0), (7.0, 7.0)):
        damage.add(start, end)
    assert damage.holes == [(1.0, 6.0), (8.0, 9.0)]


def test_a_view_reads_as_its_stretches_joined() -> None:
    rng = random.Random(3)
    data = rng.randbytes(5000)
    stretches = [(10, 20), (100, 100), (1000, 3000), (2000, 2001), (4900, 5000)]
    joined = bytearray(b"".join(data[first:last] for first, last in stretches))
    joined[5:8] = b"abc"
    view = View(io.BytesIO(data), stretches, {5: b"abc"})
    assert view.size == len(joined)
    for _ in range(500):
        place, count = rng.randrange(len(joined) + 10), rng.randrange(3000)
        view.seek(place)
        assert view.read(count) == joined[place : place + count]


def test_the_first_look_at_rumble_misses_none(clips: list[tuple[str, np.ndarray]]) -> None:
    time, found = np.arange(60 * RATE) / RATE, 0
    for index, (_, clip) in enumerate(clips[:6]):
        for level in (0.003, 0.01, 0.03, 0.1):
            for hertz in (0, 25, 50, 70, 80, 100):
                hum = level * np.cos(2 * np.pi * hertz * time[: len(clip)] + index)
                around = (clip + hum).astype(np.float32)[: RATE + 2 * rumble.HALF]
                samples = around[rumble.HALF : -rumble.HALF]
                taken = rumble._cleaned(around, 1e-9)[1]  # a share before: it looks closely in any case
                found += taken == 1.0
                assert taken == 0.0 or rumble._suspect(around, samples)
    assert found > 10
