"""Bundles compiled from the random models of `tiny_whisper`, and windows through them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import whisper_reference as reference
from tiny_whisper import Tiny, weights, write_json

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, Recognizer, WindowRequest, WindowResult
from asr_batch.models.whisper.compile.bundle import compile_bundle


def write_safetensors(path: Path, state: dict[str, np.ndarray]) -> None:
    header, offset = {}, 0
    for name, value in state.items():
        end = offset + value.nbytes
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for value in state.values():
            stream.write(np.ascontiguousarray(value).tobytes())


def source(folder: Path, spec: Tiny) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder, spec)
    write_safetensors(folder / "model.safetensors", weights(spec))
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
