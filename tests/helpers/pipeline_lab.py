"""Recordings made of real clips, a stand-in recognizer, and the shortest way from samples to a row."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from asr_batch.manifests.records import AudioItem, SpanResult, Transcript, Unit
from asr_batch.models.recognizer import ModelInfo, WindowRequest, WindowResult
from asr_batch.pipeline.audio.frames import Meter
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.transcribe import Transcriber
from asr_batch.pipeline.windows.spans import split_item

RATE = 16_000
Ended = TypeVar("Ended")
AUDIO = Path(__file__).parent.parent / "data" / "audio"
BUNDLED = Path(__file__).parents[2] / "models" / "bundled"


class FakeRecognizer:
    """Says "w1 w2 ..." at 2.5 words a second of speech, or what `speak` makes of a request.

    Results come back in the order of submission or, with `shuffled`, in another one.
    """

    def __init__(
        self,
        speak: Callable[[WindowRequest, WindowResult], WindowResult] | None = None,
        batch: int = 4,
        shuffled: bool = False,
        languages: tuple[str, ...] = ("en",),
        window: float = 10.0,
        can: frozenset[str] = frozenset({"language_detection"}),
        longest: float = 0.0,
    ) -> None:
        self.info = ModelInfo(
            "fake", "fake", "", "0" * 64, "fp32", window, languages=languages, batch=batch,
            capabilities=can, longest=longest,
        )  # fmt: skip
        self.speak = speak
        self.shuffled = shuffled
        self.requests: list[WindowRequest] = []
        self.queue: deque[WindowRequest] = deque()
        self.closed = False

    def room(self) -> int:
        return self.info.batch - len(self.queue)

    def submit(self, request: WindowRequest) -> None:
        assert request.samples.dtype == np.float32
        info = self.info
        most = max(info.window, info.longest) if request.options.cpu_encoder else info.window
        assert len(request.samples) <= most * RATE
        self.requests.append(request)
        self.queue.append(request)

    def pending(self) -> int:
        return len(self.queue)

    def poll(self) -> list[WindowResult]:
        count = len(self.queue) if self.shuffled else min(1, len(self.queue))
        taken = [self.queue.pop() if self.shuffled else self.queue.popleft() for _ in range(count)]
        return [self._answer(request) for request in taken]

    def _answer(self, request: WindowRequest) -> WindowResult:
        speech = speech_seconds(request.samples)
        # Words depend on the samples, so that a window decoded twice or shifted says something else.
        mark = 1000 + int(np.abs(request.samples).sum() * 1000) % 8973  # as many letters each
        text = " ".join(f"w{mark + i}" for i in range(round(2.5 * speech)))
        options, languages = request.options, ()
        if options.language is None and "language_detection" in self.info.capabilities:
            (chances,) = self.detect_language([request.samples], options.among)
            languages = tuple(sorted(chances.items(), key=lambda one: -one[1]))
            request = replace(
                request, options=replace(options, language=languages[0][0] if languages else None)
            )
        result = WindowResult(
            request.key, text, tuple(range(len(text.split()))), -0.1, 0.0,
            language=request.options.language, languages=languages,
        )  # fmt: skip
        return self.speak(request, result) if self.speak else result

    def detect_language(
        self, windows: Sequence[np.ndarray], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        return [{} for _ in windows]

    def confirm(self) -> bool:
        return True

    def occupancy(self) -> tuple[int, int]:
        return 1, 1

    def close(self) -> None:
        self.closed = True


def answered(
    asking: Generator[DecodeRequest, WindowResult, Ended], *answers: WindowResult
) -> tuple[Ended, list[DecodeRequest]]:
    """What a decoding returns after these answers, of which it needs every one, and what it asked."""
    asked = [next(asking)]
    asked += [asking.send(answer) for answer in answers[:-1]]
    with pytest.raises(StopIteration) as stop:
        asking.send(answers[-1])
    return stop.value.value, asked


def speech_seconds(samples: np.ndarray) -> float:
    """Seconds of speech by Silero."""
    if not len(samples):
        return 0.0
    return float(sum((part.speech >= 0.5).sum() for part in Meter().measure([samples]))) / 100


def run_units(
    units: Sequence[tuple[Unit, Path | bytes]], recognizer: object, options: PipelineOptions, **more: object
) -> dict[tuple[str, int], SpanResult]:
    """All units through one transcriber."""
    transcriber = Transcriber(recognizer, options, **more)  # type: ignore[arg-type]
    for unit, source in units:
        transcriber.add(unit, source)
    done = {}
    while transcriber.open_units():
        done |= {result.key: result for result in transcriber.advance(30)}
    return done


def row(
    path: Path | bytes, recognizer: object, options: PipelineOptions | None = None, **item: object
) -> Transcript:
    """One file to its transcript."""
    made = AudioItem(id="row", audio="a", location=str(path), **item)  # type: ignore[arg-type]
    unit = replace(split_item(made, None)[0], end=made.end)
    spans = run_units([(unit, path)], recognizer, options or PipelineOptions())
    return assemble(made, list(spans.values()))


def check_tiling(transcript: Transcript, start: float, end: float) -> None:
    """The rule of the ledger: windows tile [start, end), overlap only at forced cuts."""
    for channel in {window.channel for window in transcript.windows}:
        windows = [window for window in transcript.windows if window.channel == channel]
        assert windows[0].keep_start == pytest.approx(start, abs=1e-6)
        assert windows[-1].keep_end == pytest.approx(end, abs=1e-6)
        for left, right in pairwise(windows):
            assert left.keep_end == right.keep_start
            assert left.cut == "forced" or left.end == pytest.approx(right.start, abs=1e-6)
            assert right.start <= right.keep_start <= left.end + 1e-6
    for window in transcript.windows:
        assert window.start <= window.keep_start <= window.keep_end <= window.end + 1e-6


def joined(clips: Sequence[tuple[str, np.ndarray]], gap: float, noise: float = 1e-4) -> np.ndarray:
    """Clips one after the other with `gap` seconds between them, over faint noise."""
    pause = np.zeros(round(gap * RATE), np.float32)
    samples = np.concatenate([part for _, clip in clips for part in (clip, pause)])
    return samples + np.random.default_rng(0).normal(0, noise, len(samples)).astype(np.float32)
