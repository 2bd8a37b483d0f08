"""The verdict on a model: whether its layout fits, which providers load it, whether a clip decodes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from asr_batch.manifests.errors import AsrBatchError, ModelError
from asr_batch.models.load import load_recognizer
from asr_batch.models.onnx.sessions import session_options
from asr_batch.models.recognizer import (
    SAMPLE_RATE,
    DecodeOptions,
    LoadOptions,
    Recognizer,
    Samples,
    WindowRequest,
)

_CLIP_SECONDS = 2.0
_MAX_POLLS = 10_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fits`: config and graphs form a complete model (None: not tried). `runs`: a clip was decoded."""

    fits: bool | None
    runs: bool | None
    reason: str

    @property
    def good(self) -> bool:
        """No check failed."""
        return self.fits is not False and self.runs is not False


def sample_clip() -> Samples:
    """Two seconds of an intermittent tone in faint noise: [32000] float32, always the same."""
    times = np.arange(int(_CLIP_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    voice = np.sin(2 * np.pi * 220 * times) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * times))
    noise = np.random.default_rng(0).normal(0.0, 0.01, times.size)
    clip: Samples = (0.2 * voice + noise).astype(np.float32)
    return clip


def judge(folder: Path, kind: str, problem: str | None, *, run: bool) -> Verdict:
    """Load the model and decode the clip, unless `problem` already explains why not."""
    if problem:
        return Verdict(fits=False, runs=None, reason=problem)
    if kind in ("whisper-source", "ctranslate2", "openai"):
        return Verdict(None, None, "weights, which `run` compiles once before it uses them")
    if not run:
        return Verdict(None, None, "not loaded, as requested")
    try:
        recognizer = load_recognizer(folder, LoadOptions(provider="cpu"))
    except (ModelError, ImportError) as error:
        return Verdict(fits=False, runs=None, reason=str(error))
    try:
        return _run(recognizer)
    finally:
        recognizer.close()


def _language(recognizer: Recognizer) -> str | None:
    """A language of a multilingual model, because the clip has none."""
    languages = recognizer.info.languages
    return "en" if "en" in languages else next(iter(languages), None)


def _run(recognizer: Recognizer) -> Verdict:
    started = time.perf_counter()
    try:
        recognizer.submit(WindowRequest("clip", sample_clip(), DecodeOptions(language=_language(recognizer))))
        for _ in range(_MAX_POLLS):
            if results := recognizer.poll():
                break
        else:
            return Verdict(fits=True, runs=False, reason="the clip gave no result")
    except AsrBatchError as error:
        return Verdict(fits=True, runs=False, reason=str(error))
    seconds = time.perf_counter() - started
    if results[0].error:
        return Verdict(fits=True, runs=False, reason=results[0].error)
    count = len(results[0].tokens)
    tokens = "1 token" if count == 1 else f"{count} tokens"
    reason = f"a clip of {_CLIP_SECONDS:g} s gave {tokens} in {seconds:.2f} s on cpu"
    return Verdict(fits=True, runs=True, reason=reason)


def loading_providers(path: Path) -> tuple[str, ...]:
    """Names of ONNX Runtime's providers on this machine that load the graph at `path`."""
    found = []
    for provider in ort.get_available_providers():
        if provider.startswith(("Azure", "Tensorrt")):  # one calls a service, one compiles for minutes
            continue
        try:
            session = ort.InferenceSession(str(path), session_options(1), providers=[provider])
        except Exception:  # noqa: BLE001,S112 - a class per status; whatever it is, this one does not load it
            continue
        if provider in session.get_providers():
            found.append(provider)
    return tuple(found)
