"""Bundles compiled from the random models of `tiny_whisper`, and windows through them."""

from __future__ import annotations

from pathlib import Path

import whisper_reference as reference
from safetensors.numpy import save_file
from tiny_whisper import Tiny, weights, write_json

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, Recognizer, WindowRequest, WindowResult
from asr_batch.models.whisper.compile.bundle import compile_bundle


def source(folder: Path, spec: Tiny) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder, spec)
    save_file(weights(spec), folder / "model.safetensors")
    return folder


def bundle(tmp_path: Path, spec: Tiny, precision: str = "fp32", **options: object) -> Recognizer:
    target = tmp_path / precision
    if not target.exists():
        compile_bundle(source(tmp_path / "src", spec), target, window=spec.window, precision=precision)
    return load_recognizer(target, LoadOptions(threads=2, **options))


def options_for(spec: Tiny, **changes: object) -> DecodeOptions:
    language = "de" if spec.multilingual else None
    return DecodeOptions(**{"plain": True, "max_new_tokens": reference.CAP, "language": language} | changes)


def decode(model: Recognizer, requests: list[WindowRequest]) -> dict[object, WindowResult]:
    waiting, results = list(requests), {}
    while waiting or model.pending():
        while waiting and model.room():
            model.submit(waiting.pop(0))
        results |= {result.key: result for result in model.poll()}
    return results
