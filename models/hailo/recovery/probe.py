"""The parity probe: encodes a golden clip on the NPU and compares the hidden states with the CPU's.

The reference is in the bundle (`probe.npz`: `log_mel` [n_mels, frames] and `hidden` [positions, width],
float32, written by `models add-hef`); a bundle without one gets it from its CPU encoder when the NPU opens.

Bounds. Hailo's own encoder HEFs are near 15 dB SNR (cosine 0.985); a HEF of
github.com/ktomanek/huggingface_whisper_to_hailo_conversion reached 9.2 dB (0.945). So a first probe under
0.90 is not a working encoder. Later probes may lose 6 dB against the first good one, but never fall under
0.90; an NPU that starts nearly exact is allowed 0.97. A single value may be wrong by the largest reference
value (that HEF: 13, within ±18), but not by more than 1.5 times that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.calibration import expand
from asr_batch.models.encoder import Encoder, Float32
from asr_batch.models.features import HOP, log_mel
from asr_batch.models.hailo.layout import Layout
from asr_batch.models.recognizer import SAMPLE_RATE

WORST_COSINE, TIGHTEST_BOUND, GROWTH, WORST_ERROR = 0.90, 0.97, 4.0, 1.5
UNLIKE = 0.2
"""The NPU is probed at once if the mean hidden state of a window correlates less with the golden clip's. With
nano.en, speech has 0.5 to 0.8, silence and noise 0.4, a pure tone 0.27, random numbers 0.03."""
GOLDEN = Path(__file__).parents[2] / "bundled" / "golden" / "golden.npz"
GAP = 0.4
"""Seconds of silence between repetitions of the golden clip in a long window."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How close the NPU is: cosine over all values, largest error over the largest reference value."""

    cosine: float = 0.0
    max_error: float = 0.0
    bound: float = WORST_COSINE
    text: str = ""

    @property
    def good(self) -> bool:
        """Whether the NPU can be trusted."""
        return self.cosine >= self.bound and self.max_error <= WORST_ERROR and not self.text

    def __str__(self) -> str:
        line = f"cosine {self.cosine:.4f} (at least {self.bound:.4f}), largest error {self.max_error:.2f}"
        return line + f" (at most {WORST_ERROR})" + (f"; {self.text}" if self.text else "")


class Probe:
    """The golden log-mel, the CPU's hidden states, and the bound, tighter after the first good probe."""

    def __init__(self, log_mel: Float32, hidden: Float32) -> None:
        """`read` may be set later; it decodes hidden states [positions, width] to text."""
        self.log_mel = log_mel
        self.hidden = hidden
        self.read: Callable[[Float32], str] | None = None
        self._bound = WORST_COSINE
        self._text: str | None = None
        self._mean = _centred_mean(hidden)

    def judge(self, hidden: Float32) -> Parity:
        """Compare `hidden` [positions, width] with the reference."""
        scale = float(np.abs(self.hidden).max()) or 1.0
        parity = Parity(
            _cosine(hidden, self.hidden), float(np.abs(hidden - self.hidden).max()) / scale, self._bound
        )
        if parity.good and self.read is not None:
            parity = Parity(parity.cosine, parity.max_error, self._bound, self._compare_text(hidden))
        if parity.good and self._bound == WORST_COSINE:
            self._bound = max(WORST_COSINE, min(TIGHTEST_BOUND, 1.0 - GROWTH * (1.0 - parity.cosine)))
        return parity

    def _compare_text(self, hidden: Float32) -> str:
        """A sentence if most words decoded from `hidden` differ from the reference's, else empty."""
        assert self.read is not None
        if self._text is None:
            self._text = self.read(self.hidden)
        wanted, got = self._text.lower().split(), self.read(hidden).lower().split()
        shared = len(set(wanted) & set(got))
        if 2 * shared >= len(set(wanted)):
            return ""
        return f"the NPU's text is {' '.join(got)!r}, the CPU's {' '.join(wanted)!r}"

    def plausible(self, hidden: Float32) -> bool:
        """Whether hidden states [batch, positions, width] look like a Whisper encoder's at all (cheap)."""
        return all(float(_centred_mean(one) @ self._mean) > UNLIKE for one in hidden)


def _centred_mean(hidden: Float32) -> Float32:
    """The mean hidden state, centred, as a unit vector."""
    mean = hidden.mean(axis=0)
    mean = mean - mean.mean()
    return np.asarray(mean / (float(np.linalg.norm(mean)) or 1.0), np.float32)


def _cosine(one: Float32, other: Float32) -> float:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(a @ b / ((float(np.linalg.norm(a)) * float(np.linalg.norm(b))) or 1.0))


@cache
def golden_clip() -> Float32:
    """The golden clip: mono 16 kHz, float32 in [-1, 1] (synthetic speech, stored as 8-bit mu-law)."""
    with np.load(GOLDEN) as data:
        return expand(data["mulaw"] / np.float32(127.5) - np.float32(1))


def golden_log_mel(n_mels: int, frames: int) -> Float32:
    """Log-mel [n_mels, frames] of the golden clip, repeated until the window is full."""
    clip = np.concatenate([golden_clip(), np.zeros(int(GAP * SAMPLE_RATE), np.float32)])
    samples = np.resize(clip, frames * HOP)
    return np.ascontiguousarray(log_mel(samples, n_mels, frames * HOP), np.float32)


def make_probe(cpu: Encoder, frames: int, path: Path | None = None) -> Probe:
    """Encode the golden clip in a window of `frames` with `cpu`; with `path` also save the reference."""
    window = golden_log_mel(cpu.n_mels, frames)
    hidden = np.asarray(cpu.start(window[np.newaxis]).result()[0], np.float32)
    if path is not None:
        np.savez_compressed(path, log_mel=window, hidden=hidden)
    return Probe(window, hidden)


def load_probe(path: Path, window: Layout, hidden: Layout) -> Probe | None:
    """Read a saved reference; None if it is for another window length.

    Raises ModelError when it belongs to another model or cannot be read.
    """
    try:
        with np.load(path) as data:
            probe = Probe(_array(data["log_mel"]), _array(data["hidden"]))
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(
            f"{path}: the probe reference cannot be read; run `asr-batch models add-hef` again"
        ) from exc
    expected = ((window.rows, window.columns), (hidden.rows, hidden.columns))
    found = (probe.log_mel.shape, probe.hidden.shape)
    if found == expected:
        return probe
    if (found[0][0], found[1][1]) == (window.rows, hidden.columns):
        return None
    raise ModelError(
        f"{path}: the probe reference is for windows {found[0]} and hidden states {found[1]}, the HEF has "
        f"{expected[0]} and {expected[1]}; it belongs to another model"
    )


def _array(value: NDArray[np.float32]) -> Float32:
    return np.ascontiguousarray(value, np.float32)
