"""Sound files as people have them, written by libsndfile and PyAV: containers, gaps, tracks, damage."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from asr_batch.pipeline.audio.reader import AudioStream

RATE = 16_000
KINDS: dict[str, tuple[str, int]] = {
    "a.m4a": ("aac", 16_000),
    "a.mkv": ("aac", 16_000),
    "a.webm": ("libopus", 48_000),
    "a.ogg": ("libvorbis", 16_000),
    "a.opus": ("libopus", 48_000),
    "a.mp3": ("libmp3lame", 16_000),
    "a.wma": ("wmav2", 16_000),
    "a.ts": ("aac", 16_000),
    "a.flv": ("aac", 44_100),
    "a.aac": ("aac", 16_000),
    "a.ac3": ("ac3", 32_000),
    "a.wv": ("wavpack", 16_000),
    "a.flac": ("flac", 16_000),
}
"""Endings with codec and rate: what the fuzz cuts, zeroes and flips."""


_OPTIONS = {
    ".m4a": {"movflags": "faststart"},
    ".mp4": {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"},
}


def clicks(seconds: float, rate: int = RATE) -> np.ndarray:
    """A burst of a tone, 0.1 s at 800 Hz, at every whole second, over faint noise."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(0, 1e-3, len(time))
    return (0.5 * np.sin(2 * np.pi * 800 * time) * (time % 1 < 0.1) + noise).astype(np.float32)


def onsets(samples: np.ndarray) -> list[float]:
    """Seconds at which the bursts begin."""
    loud = np.convolve(np.abs(samples), np.ones(160) / 160, "same") > 0.1
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) / RATE
    return [float(second) for i, second in enumerate(starts) if i == 0 or second - starts[i - 1] > 0.3]


def write(
    path: Path,
    tracks: Sequence[np.ndarray],
    codec: str,
    rate: int,
    *,
    layout: str = "mono",
    start: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0),
    video: float = 0.0,
    default: int | None = None,
    skip: Sequence[int] = (),
    bit_rate: int = 64_000,
) -> Path:
    """One file. `tracks` of samples [n] or [channels, n] at `rate`; they begin at `start`; `gap` is a second
    of the sound and how long nothing comes there; `video` seconds of picture from 0 on; `skip` packets.
    """
    if codec == "libvorbis":  # PyAV's FFmpeg comes without it
        soundfile.write(path, np.atleast_2d(tracks[0]).T, rate, format="OGG", subtype="VORBIS")
        return path
    options = _OPTIONS.get(path.suffix, {})
    with av.open(str(path), "w", options=options) as container:
        picture = _picture(container) if video else None
        streams = [container.add_stream(codec, rate=rate) for _ in tracks]
        for index, stream in enumerate(streams):
            stream.layout = layout
            stream.bit_rate = bit_rate
            if default is not None:
                stream.disposition = av.stream.Disposition(int(index == default))
        packets = list(_encoded_picture(picture, video)) if picture else []
        for stream, samples in zip(streams, tracks, strict=True):
            made = list(_encoded(stream, np.atleast_2d(samples), rate, start, gap, layout))
            packets += [packet for index, packet in enumerate(made) if index not in skip]
        packets.sort(key=lambda packet: float((packet.dts or 0) * packet.time_base))
        for packet in packets:
            container.mux(packet)
    return path


def _picture(container: av.container.OutputContainer):
    name = "libvpx" if "webm" in container.format.name else "mpeg4"
    stream = container.add_stream(name, rate=5)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def _encoded_picture(stream, seconds: float):
    for index in range(round(seconds * 5)):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index % 255, np.uint8), format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, 5)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _encoded(stream, samples: np.ndarray, rate: int, start: float, gap: tuple[float, float], layout: str):
    context = stream.codec_context
    context.open()
    size = context.frame_size or 1024
    resampler = av.AudioResampler(format=context.format.name, layout=layout, rate=rate)
    for first in range(0, samples.shape[1], size):
        part = np.ascontiguousarray(samples[:, first : first + size], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        late = start + (gap[1] if first / rate >= gap[0] and gap[1] else 0.0)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        for plain in resampler.resample(frame):
            plain.pts, plain.time_base = first + round(late * rate), Fraction(1, rate)
            yield from stream.encode(plain)
    yield from stream.encode(None)


def written(folder: Path, name: str, samples: np.ndarray, **how: object) -> Path:
    """`samples` (at 16 kHz) under a name of `KINDS`."""
    codec, rate = KINDS[name]
    return write(folder / name, [soxr.resample(samples.T, RATE, rate).T], codec, rate, **how)  # type: ignore[arg-type]


def heard(path: Path | bytes, **how: object) -> tuple[np.ndarray, AudioStream]:
    """All samples of a file, and the stream they came from."""
    stream = AudioStream(path, **how)  # type: ignore[arg-type]
    try:
        blocks = list(stream.blocks())
    finally:
        stream.close()
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32), stream


def damaged(data: bytes, how: str, rng: random.Random) -> bytes:
    """`data` cut, with a stretch of zeros, or with bytes flipped."""
    size = len(data)
    if how == "cut":
        return data[: rng.randrange(size // 20, size)]
    if how == "zero":
        first = rng.randrange(size // 10, size * 8 // 10)
        last = min(size, first + rng.randrange(size // 50, size * 4 // 10))
        return data[:first] + bytes(last - first) + data[last:]
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 10, 100, 1000))):
        flipped[rng.randrange(size // 50, size)] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def raw(path: Path, samples: np.ndarray, subtype: str, rate: int = 8000) -> Path:
    """A file without a header."""
    data = soxr.resample(samples, RATE, rate)
    soundfile.write(str(path), data, rate, format="RAW", subtype=subtype)
    return path
