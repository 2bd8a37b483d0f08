"""Clips with transcripts, and long recordings joined from them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from bench.inputs import read_manifest

SEED = 5
"""Of the order of the clips, if no other is given."""

PAUSES = (0.25, 0.7)
"""Seconds between two clips of a joined recording."""


@dataclass(frozen=True)
class Clip:
    """One utterance: mono samples at 16 kHz and their transcript."""

    name: str
    language: str
    text: str
    samples: Samples


@dataclass(frozen=True)
class Said:
    """A clip in a recording, from second `start` to `end`."""

    start: float
    end: float
    text: str
    language: str | None = None


@dataclass(frozen=True)
class Recording:
    """Samples with the clips that they are joined from; `language` of all of them, or None."""

    name: str
    language: str | None
    samples: Samples
    said: tuple[Said, ...]

    @property
    def text(self) -> str:
        """The whole transcript."""
        return " ".join(clip.text for clip in self.said)

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLE_RATE


def load(manifest: Path, half: str = "all", languages: str = "") -> list[Clip]:
    """The clips of a CSV with `audio`, `text` and optionally `id`, `language`.

    `half`: `even` or `odd` takes every other one of each language, so that parameters tuned on one half
    can be measured on the other. `languages`: codes separated by commas; empty: all.
    """
    rows = read_manifest(manifest, "audio", "text")
    seen: dict[str, int] = {}
    clips = []
    for row in rows:
        language = row.get("language") or "en"
        place = seen[language] = seen.get(language, -1) + 1
        if languages and language not in languages.split(","):
            continue
        if half == "all" or place % 2 == (half == "odd"):
            try:
                samples, rate = soundfile.read(manifest.parent / row["audio"], dtype="float32")
            except soundfile.LibsndfileError as error:
                raise SystemExit(f"{manifest}: {row['audio']}: {error.error_string}") from error
            if rate != SAMPLE_RATE:
                raise SystemExit(f"{row['audio']}: {rate} Hz; expected clips of {SAMPLE_RATE} Hz")
            clips.append(Clip(row.get("id") or row["audio"], language, row["text"], samples))
    return clips


def joined(
    clips: Sequence[Clip], minutes: float, seed: int, pauses: tuple[float, float] = PAUSES
) -> Recording:
    """Clips in random order with random pauses; all are used before any is repeated."""
    rng = np.random.default_rng(seed)
    made = _Joining(rng, pauses)
    while made.seconds < minutes * 60:
        for index in rng.permutation(len(clips)):
            made.add(clips[index])
            if made.seconds >= minutes * 60:
                break
    languages = {clip.language for clip in clips}
    language = languages.pop() if len(languages) == 1 else None
    name = f"{language or 'mixed'}-{seed}"
    if pauses != PAUSES:
        name += f", pauses of {pauses[0]:g} to {pauses[1]:g} s"
    return Recording(name, language, np.concatenate(made.parts), tuple(made.said))


def in_turns(
    clips: Sequence[Clip],
    minutes: float,
    seed: int,
    turn: tuple[float, float],
    pauses: tuple[float, float] = PAUSES,
) -> Recording:
    """Clips of several languages: `turn` seconds in one, at least one clip, then as many in another."""
    rng = np.random.default_rng(seed)
    languages = sorted({clip.language for clip in clips})
    left: dict[str, list[Clip]] = {code: [] for code in languages}
    made, language = _Joining(rng, pauses), ""
    while made.seconds < minutes * 60:
        language = str(rng.choice([code for code in languages if code != language]))
        begun, until = made.seconds, made.seconds + rng.uniform(*turn)
        while made.seconds < until or made.seconds == begun:
            if not left[language]:
                some = [clip for clip in clips if clip.language == language]
                left[language] = [some[index] for index in rng.permutation(len(some))]
            made.add(left[language].pop())
    return Recording(
        f"turns of {turn[0]:g} to {turn[1]:g} s", None, np.concatenate(made.parts), tuple(made.said)
    )


class _Joining:
    """A recording in the making."""

    def __init__(self, rng: np.random.Generator, pauses: tuple[float, float]) -> None:
        self._rng, self._pauses, self._count = rng, pauses, 0
        self.parts: list[Samples] = []
        self.said: list[Said] = []

    @property
    def seconds(self) -> float:
        """Its length so far."""
        return self._count / SAMPLE_RATE

    def add(self, clip: Clip) -> None:
        """Say the clip, then pause."""
        end = (self._count + len(clip.samples)) / SAMPLE_RATE
        self.said.append(Said(self.seconds, end, clip.text, clip.language))
        pause = np.zeros(round(self._rng.uniform(*self._pauses) * SAMPLE_RATE), np.float32)
        self.parts += [clip.samples, pause]
        self._count += len(clip.samples) + len(pause)


def repeated(clip: Clip, times: int, pause: float = 0.5) -> Recording:
    """The same clip repeated."""
    silence = np.zeros(round(pause * SAMPLE_RATE), np.float32)
    step = len(clip.samples) + len(silence)
    said = tuple(
        Said(i * step / SAMPLE_RATE, (i * step + len(clip.samples)) / SAMPLE_RATE, clip.text)
        for i in range(times)
    )
    return Recording(
        f"{clip.name} x {times}", clip.language, np.tile(np.r_[clip.samples, silence], times), said
    )


def varied(clip: Clip, times: int, pause: float = 0.0) -> Recording:
    """The clip repeated, up to 5 % faster or slower and 3 dB louder or quieter each, in noise 30 dB below."""
    rng = np.random.default_rng(zlib.crc32(clip.name.encode()) + times)
    made = _Joining(rng, (pause, pause))
    for _ in range(times):
        pace = rng.uniform(0.95, 1.05)
        samples = soxr.resample(clip.samples, SAMPLE_RATE, SAMPLE_RATE * pace)
        made.add(replace(clip, samples=(samples * 10 ** (rng.uniform(-3, 3) / 20)).astype(np.float32)))
    both = np.concatenate(made.parts)
    noise = rng.normal(0, np.sqrt(np.mean(both**2)) * 10 ** (-30 / 20), len(both))
    samples = (both + noise).astype(np.float32)
    return Recording(f"{clip.name} x {times}, varied", clip.language, samples, tuple(made.said))


def by_language(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """The clips of each language."""
    return {code: [c for c in clips if c.language == code] for code in sorted({c.language for c in clips})}


def single(clip: Clip) -> Recording:
    """One clip."""
    said = (Said(0.0, len(clip.samples) / SAMPLE_RATE, clip.text),)
    return Recording(clip.name, clip.language, clip.samples, said)
