"""Audio in: formats, rates, channels, exact spans, blocks that do not depend on anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr
from pipeline_lab import RATE

from asr_batch.pipeline.audio.reader import AudioStream, probe, read_samples


def encoded(path: Path, samples: np.ndarray, codec: str, rate: int) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two recordings at the best lag."""
    size = len(one) + len(other)
    cross = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)))
    return float(cross.max() / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au"])
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_what_libsndfile_reads(save: Callable[..., Path], clips: list, name: str, rate: int) -> None:
    clip = clips[0][1]
    source = soxr.resample(clip, RATE, rate)
    path = save(source, name, rate)
    info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, 1)
    assert info.duration == pytest.approx(len(clip) / RATE, abs=0.1)
    heard = read_samples(path, 0, 99)
    assert len(heard) == pytest.approx(len(clip), abs=1600)
    padded = np.concatenate([heard, np.zeros(9600, np.float32)])
    assert likeness(padded, clip) > (0.85 if rate == 8000 else 0.95)


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus")])
def test_what_ffmpeg_reads(tmp_path: Path, clips: list, name: str, codec: str) -> None:
    clip = clips[0][1]
    path = encoded(tmp_path / name, soxr.resample(clip, RATE, 48000), codec, 48000)
    info = probe(path)
    assert (info.channels, info.seekable) == (1, False)
    for source in (path, path.read_bytes()):
        heard = read_samples(source, 0, 99)
        assert likeness(np.concatenate([heard, np.zeros(9600, np.float32)]), clip) > 0.95
    later = read_samples(path, 2.0, 3.0)
    np.testing.assert_allclose(later[200:-200], read_samples(path, 0, 99)[32200:47800], atol=1e-3)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_span_is_the_same_samples(save: Callable[..., Path], clips: list, name: str) -> None:
    path = save(np.tile(clips[0][1], 4), name)
    whole = read_samples(path, 0, 99)
    for start, end in ((0.0, 1.0), (3.3, 9.87), (17.0001, 18.5)):
        part = read_samples(path, start, end)
        first = round(start * RATE)
        assert len(part) == round(end * RATE) - first
        np.testing.assert_allclose(part, whole[first : first + len(part)], atol=2e-3)


def test_channels(save: Callable[..., Path]) -> None:
    sign = np.where(np.arange(4000) % 2, 1.0, -1.0).astype(np.float32)
    path = save(np.stack([0.25 * sign, 0.75 * sign], axis=1), subtype="FLOAT")
    for channel, value in (("mix", 0.5), ("0", 0.25), ("1", 0.75)):
        np.testing.assert_array_equal(read_samples(path, 0, 1, channel), value * sign)


def test_resampling_in_blocks_is_resampling_at_once(save: Callable[..., Path]) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 44100 * 7 + 123).astype(np.float32)
    stream = AudioStream(save(noise, rate=44100, subtype="FLOAT"))
    heard = np.concatenate(list(stream.blocks()))
    assert stream.end == len(noise) / 44100
    np.testing.assert_allclose(heard, soxr.resample(noise, 44100, RATE), atol=1e-5)
