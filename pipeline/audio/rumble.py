"""Removes strong sound below speech: DC offset, mains hum, rumble.

Such sound masks the levels used for cutting, hides speech from voice activity detection, and uses up the
range of the model's features. For every second of the file in which the level below 80 Hz is at least -45
dBFS and less than 10 dB below the rest, it is removed. All other seconds stay bit-identical.

The filter has linear phase (Kaiser window, 43 ms on either side): 0 dB from 100 Hz, -55 dB up to 60 Hz.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples

HALF = 690
"""Samples on either side that the filter uses."""

_CUTOFF = 80.0  # Hz
_BETA = 5.0  # Kaiser's: 55 dB
_SECOND = SAMPLE_RATE
_SIZE = 18_000  # of the transform: a second and both sides, a product of small primes
_LOUD, _SHARE = 10**-4.5, 0.1  # power, and share of the power of everything above it
_GROUP = 20  # samples per mean in the first, coarse check
_SURE = 0.7  # of the limits: what is weaker in the coarse check is certainly below them
_FADE = SAMPLE_RATE // 20
_TELLING = SAMPLE_RATE // 4  # minimum samples of a partial second that is judged separately


def _low_pass(half: int, rate: float) -> np.ndarray:
    place = np.arange(-half, half + 1)
    taps = np.sinc(2 * _CUTOFF / rate * place) * np.kaiser(2 * half + 1, _BETA)
    scaled: np.ndarray = taps / taps.sum()
    return scaled


_FILTER = np.fft.rfft(np.roll(np.pad(_low_pass(HALF, SAMPLE_RATE), (0, _SIZE - 2 * HALF - 1)), -HALF))
_FILTER = _FILTER.astype(np.complex64)
_COARSE = _low_pass(HALF // _GROUP, SAMPLE_RATE / _GROUP).astype(np.float32)
_MEAN = np.full(_GROUP, 1 / _GROUP, np.float32)


def without_rumble(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """The same samples in blocks of a second; both ends are extended by reflection."""
    held = np.zeros(0, np.float32)
    share: float | None = None
    first = True
    for block in blocks:
        held = np.concatenate((held, block))
        if first and len(held) > HALF:
            held, first = np.concatenate((_before(held), held)), False
        while not first and len(held) >= _SECOND + 2 * HALF:
            clean, share = _cleaned(held[: _SECOND + 2 * HALF], share)
            yield clean
            held = held[_SECOND:]
    if first and len(held):
        held = np.concatenate((_before(held), held))
    if len(held) > HALF:
        held = np.concatenate((held, _before(held[::-1])[::-1]))
        for place in range(0, len(held) - 2 * HALF, _SECOND):
            clean, share = _cleaned(held[place : place + _SECOND + 2 * HALF], share)
            yield clean


def _before(samples: Samples) -> Samples:
    """The samples before the start: reflected in time and value around the first one."""
    padded: Samples = np.pad(samples[: HALF + 1], (HALF, 0), mode="reflect", reflect_type="odd")
    return padded[:HALF]


def _cleaned(around: Samples, before: float | None) -> tuple[Samples, float]:
    """The samples [n + 2 HALF] without sides and rumble, and the share of the rumble that was removed.

    `before` is the share for the previous second, from which this one fades; None: there is none.
    """
    samples = around[HALF:-HALF]
    if not before and not _suspect(around, samples):
        return samples, 0.0
    low = np.fft.irfft(np.fft.rfft(around, _SIZE) * _FILTER, _SIZE)[HALF : HALF + len(samples)]
    low = low.astype(np.float32)
    power, rest = float(np.square(low).mean()), float(np.square(samples - low).mean())
    share = 1.0 if power >= max(_LOUD, _SHARE * rest) else 0.0
    if len(samples) < _TELLING:
        share = before or 0.0
    if not share and not before:
        return samples, 0.0
    gain = np.full(len(samples), share, np.float32)
    count = min(_FADE, len(samples))
    gain[:count] = np.linspace(share if before is None else before, share, count, dtype=np.float32)
    clean: Samples = np.subtract(samples, gain * low, dtype=np.float32)
    return clean, share


def _suspect(around: Samples, samples: Samples) -> bool:
    """Whether rumble may be loud enough for a full check, from a twentieth of the samples."""
    count = len(around) // _GROUP
    if count < len(_COARSE) + 1:
        return True
    means = around[: count * _GROUP].reshape(count, _GROUP) @ _MEAN
    low = np.convolve(means, _COARSE, "valid")
    power, whole = float(low @ low) / len(low), float(samples @ samples) / len(samples)
    return power >= _SURE * max(_LOUD, _SHARE * (whole - power))
