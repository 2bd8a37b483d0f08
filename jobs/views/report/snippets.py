"""Short audio snippets as WAV data URIs, which a report can play without other files."""

from __future__ import annotations

import base64
import io
import time
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.jobs.dataset.job_file import Job
from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.location import Base, is_remote
from asr_batch.pipeline.audio.reader import read_samples

RATE = 16_000
LONGEST = 15.0
"""Maximum length of a snippet in seconds."""
MARGIN = 0.25
"""Seconds of audio before and after the window."""
LARGEST = 8_000_000
"""Maximum size of all snippets of a page, in characters."""
PATIENCE = 60.0
"""Seconds after which no more snippets are read (a late window in an unseekable file is slow)."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A data URI, or the reason why there is none. `start` and `end` are seconds in the file."""

    start: float
    end: float
    uri: str = ""
    reason: str = ""


def snippets(windows: Sequence[Mapping[str, Any]], job: Job) -> list[Snippet]:
    """One snippet per window (`audio`, `start`, `end`, `channel`), within the limits of a page."""
    made: list[Snippet] = []
    room, until = LARGEST, time.monotonic() + PATIENCE
    for window in windows:
        start = max(0.0, window["start"] - MARGIN)
        end = min(window["end"] + MARGIN, start + LONGEST)
        if room <= 0 or time.monotonic() > until:
            made.append(Snippet(start, end, reason="left out to keep this page small"))
            continue
        made.append(_snippet(window, job, start, end))
        room -= len(made[-1].uri)
    return made


def _snippet(window: Mapping[str, Any], job: Job, start: float, end: float) -> Snippet:
    path = locate(window.get("audio") or "", job)
    if path is None:
        return Snippet(start, end, reason="the audio is not on this machine")
    try:
        return Snippet(start, end, uri=data_uri(path, start, end, window.get("channel")))
    except ItemError as error:
        return Snippet(start, end, reason=error.message)


def locate(audio: str, job: Job) -> Path | None:
    """The local file behind `audio` in the manifest, or None."""
    if not audio or not job.manifest.base:
        return None
    location = Base(job.manifest.base, remote=job.manifest.remote).locate(audio)
    return None if location is None or is_remote(location) else Path(location)


def data_uri(path: Path, start: float, end: float, channel: int | None = None) -> str:
    """[start, end) of a file as a 16-bit mono WAV at 16 kHz. Raises ItemError when it cannot be read."""
    one = str(channel) if channel is not None and channel >= 0 else "mix"
    samples = read_samples(path, start, end, one)
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes((np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(out.getvalue()).decode()}"
