"""Synthesises sentences: flite and espeak-ng with random voice, rate and pitch."""

from __future__ import annotations

import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16_000
FLITE_VOICES = {"kal16": 10, "awb": 18, "rms": 18, "slt": 18}
ESPEAK_LANGUAGES = ("en-us", "en-gb")
ESPEAK_VARIANTS = ("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8")
_FLITE_SHARE = 0.72
_SILENCE = 0.005
_BEFORE, _AFTER = 800, 1600  # samples of silence kept around the speech
_SHORTEST = 4000  # samples; shorter output of a synthesiser is an error


@dataclass(frozen=True, slots=True)
class Utterance:
    """Spoken text: `samples` float32 mono 16 kHz in [-1, 1], `voice` that spoke it."""

    samples: NDArray[np.float32]
    voice: str


def check_synthesisers() -> None:
    """Exit with an installation command if a synthesiser is missing."""
    missing = [name for name in ("flite", "espeak-ng") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"missing {' and '.join(missing)}: apt-get install {' '.join(missing)}")


def speak(text: str, rng: random.Random, scratch: Path) -> Utterance | None:
    """Synthesise `text` with a random voice at a random level; None if the output is nearly empty."""
    command, voice = (
        _flite(text, rng, scratch) if rng.random() < _FLITE_SHARE else _espeak(text, rng, scratch)
    )
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples, rate = soundfile.read(scratch, dtype="float32")
    samples = _trim(soxr.resample(samples, rate, RATE) if rate != RATE else samples)
    if len(samples) < _SHORTEST:
        return None
    level = 10 ** (rng.uniform(-26, -14) / 20)
    samples = samples * (level / (np.sqrt(np.mean(samples**2)) + 1e-6))
    return Utterance(np.clip(samples, -1, 1).astype(np.float32), voice)


def _flite(text: str, rng: random.Random, scratch: Path) -> tuple[list[str], str]:
    voice = rng.choices(list(FLITE_VOICES), list(FLITE_VOICES.values()))[0]
    command = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.8, 1.2):.2f}"]
    if voice == "kal16":
        command += ["--setf", f"int_f0_target_mean={rng.uniform(80, 140):.0f}"]
    return [*command, "-t", text, "-o", str(scratch)], f"flite-{voice}"


def _espeak(text: str, rng: random.Random, scratch: Path) -> tuple[list[str], str]:
    voice = f"{rng.choice(ESPEAK_LANGUAGES)}+{rng.choice(ESPEAK_VARIANTS)}"
    rate, pitch = rng.randint(125, 185), rng.randint(30, 70)
    command = ["espeak-ng", "-v", voice, "-s", str(rate), "-p", str(pitch), "-w", str(scratch), text]
    return command, f"espeak-{voice}"


def _trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    return samples[max(0, loud[0] - _BEFORE) : loud[-1] + _AFTER] if len(loud) else samples[:0]
