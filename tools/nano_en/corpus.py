"""The synthesised corpus on disk: log-mel power as float16, one file per worker, with an index.

Log-mel is stored before the window-wise clamp, because training joins utterances to windows first.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr_batch.models.features import mel_filters
from nano_en.voices import RATE, check_synthesisers, speak

MELS = 80
LONGEST = 980
"""Frames (10 ms) of the longest utterance to keep."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance: `mel` [frames, 80] float16 (part of a memory map), its text and voice."""

    mel: NDArray[np.float16]
    text: str
    voice: str


def log_power(samples: NDArray[np.float32]) -> NDArray[np.float16]:
    """log10 of the mel power [frames, 80] of 16 kHz samples, without clamping; frames = len // 160."""
    padded = np.pad(samples, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(samples) // 160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.log10(np.maximum(power @ mel_filters(MELS), 1e-10)).astype(np.float16)


def synthesise(
    folder: Path, split: str, texts: Sequence[str], *, workers: int, wav: Path | None = None
) -> None:
    """Synthesise all `texts` to `folder`; with `wav` also write each as a file, and a manifest.csv."""
    check_synthesisers()
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder, split, list(texts), k, workers, wav) for k in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        hours = sum(pool.starmap(_worker, jobs))
    print(f"{folder}: {split}, {hours:.2f} h of speech")
    if wav is not None:
        rows = sorted(path.stem for path in wav.glob("*.wav"))
        lines = [f'{name}.wav,"{texts[int(name)]}"' for name in rows]
        (wav / "manifest.csv").write_text("audio,text\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _worker(folder: Path, split: str, texts: list[str], k: int, workers: int, wav: Path | None) -> float:
    rng = random.Random(1000 * k + 7 + (split == "test"))
    seconds, offset = 0.0, 0
    if wav is not None:
        wav.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        (folder / f"{split}-{k}.f16").open("wb") as mels,
        (folder / f"{split}-{k}.jsonl").open("w", encoding="utf-8") as index,
    ):
        for i in range(k, len(texts), workers):
            spoken = speak(texts[i], rng, Path(scratch) / "x.wav")
            if spoken is None:
                continue
            mel = log_power(spoken.samples)
            mels.write(mel.tobytes())
            entry = {"text": texts[i], "offset": offset, "frames": len(mel), "voice": spoken.voice}
            index.write(json.dumps(entry) + "\n")
            offset += len(mel)
            seconds += len(spoken.samples) / RATE
            if wav is not None:
                soundfile.write(wav / f"{i:05d}.wav", spoken.samples, RATE)
    return seconds / 3600


def load(folder: Path, split: str) -> list[Spoken]:
    """All utterances of a split that are no longer than `LONGEST` frames."""
    return [item for path in sorted(folder.glob(f"{split}-*.f16")) for item in _read(path)]


def _read(path: Path) -> Iterator[Spoken]:
    mels = np.memmap(path, np.float16, "r").reshape(-1, MELS)
    for line in path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        end = entry["offset"] + entry["frames"]
        if end <= len(mels) and entry["frames"] <= LONGEST:
            yield Spoken(mels[entry["offset"] : end], entry["text"], entry["voice"])
