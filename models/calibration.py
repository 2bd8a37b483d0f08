"""Packaged speech for measuring silence while compiling, and for parity probes of NPUs.

`bundled/calibration/clips.npz` has mono 16 kHz clips as signed 8-bit mu-law (synthetic voices: flite and
espeak-ng). The silence states measured after them are as good as those after human speech
(docs/decisions.md).
"""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.recognizer import SAMPLE_RATE, Samples

CLIPS = Path(__file__).parent / "bundled" / "calibration" / "clips.npz"
_JOINED = (8, 12, 16, 20, 24)  # seconds
_PIECES = (2, 3, 4, 6)  # seconds of clips cut from a recording
_ENOUGH = 16  # clips
_PAUSE = 0.4  # seconds between joined clips


def expand(coded: NDArray[np.floating]) -> Samples:
    """Samples in [-1, 1] of mu-law values in [-1, 1] (mu = 255)."""
    wide = coded.astype(np.float64)
    return np.asarray(np.sign(wide) * (256.0 ** np.abs(wide) - 1.0) / 255.0, np.float32)


@cache
def packaged_clips() -> tuple[Samples, ...]:
    """The packaged clips, 2 to 6 s each."""
    with np.load(CLIPS) as data:
        return tuple(expand(data[name] / np.float32(127)) for name in sorted(data.files))


def clips_of(audio: Iterable[Samples]) -> tuple[Samples, ...]:
    """The first pieces of 2 to 6 s of several recordings, for use instead of the packaged clips.

    Raises ModelError if there is less than a second of audio.
    """
    found: list[Samples] = []
    for samples in audio:
        start = 0
        for seconds in _PIECES:
            piece = samples[start : start + seconds * SAMPLE_RATE]
            start += len(piece)
            if len(piece) >= SAMPLE_RATE:
                found.append(piece)
        if len(found) >= _ENOUGH:
            break
    if not found:
        raise ModelError("the calibration audio has less than a second of sound; use files with speech")
    return tuple(found)


def recordings(clips: Sequence[Samples]) -> Iterator[Samples]:
    """The clips, and some of them joined with pauses to 8 to 24 s, to cover all lengths up to 30 s."""
    yield from clips
    again = cycle(clips)
    pause = np.zeros(int(_PAUSE * SAMPLE_RATE), np.float32)
    for seconds in _JOINED:
        parts: list[Samples] = [next(again)]
        while sum(map(len, parts)) < seconds * SAMPLE_RATE:
            parts += [pause, next(again)]
        yield np.concatenate(parts)[: seconds * SAMPLE_RATE]


def read_recordings(audio: Iterable[Path | Samples]) -> Iterator[Samples]:
    """Read recordings: arrays of mono 16 kHz samples, `.npy` files of them, 16-bit `.wav` files at 16 kHz.

    Raises ModelError for other files.
    """
    for one in audio:
        yield _read(one) if isinstance(one, Path) else np.asarray(one, np.float32)


def _read(path: Path) -> Samples:
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), np.float32).ravel()
        with wave.open(str(path)) as file:
            kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            if kind != (1, 2, SAMPLE_RATE):
                raise ModelError(
                    f"{path}: {kind[0]} channels, {8 * kind[1]} bits, {kind[2]} Hz; expected mono, 16 bits, "
                    "16000 Hz"
                )
            data: NDArray[np.int16] = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except (OSError, ValueError, EOFError, wave.Error) as error:
        raise ModelError(
            f"{path}: calibration audio cannot be read ({error}); expected 16 kHz WAV"
        ) from error
    return np.asarray(data / np.float32(32768), np.float32)
