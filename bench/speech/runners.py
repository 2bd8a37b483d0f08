"""Runners with a common row format: our pipeline in this process, faster-whisper, transformers."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asr_batch.manifests.records import AudioItem, Transcript
from asr_batch.models.recognizer import SAMPLE_RATE, Recognizer
from asr_batch.pipeline.audio.reader import probe
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.transcribe import Transcriber
from asr_batch.pipeline.windows.spans import split_item
from bench.speech.clips import Recording


@dataclass(frozen=True)
class Row:
    """What a runner made of a recording; times in seconds. `languages`: of the segments."""

    text: str
    language: str | None
    segments: list[tuple[float, float, str]]
    words: list[tuple[float, float, str]]
    status: str = "ok"
    uncovered: list[tuple[float, float]] = ()  # type: ignore[assignment]
    decoded: float = 0.0
    languages: list[str | None] = ()  # type: ignore[assignment]


Runner = Callable[[Recording], Row]


def ours(recognizer: Recognizer, options: PipelineOptions) -> Callable[[Recording], tuple[Row, Transcript]]:
    """asr-batch without Ray: the pipeline of a worker. Includes the whole transcript."""

    def run(recording: Recording) -> tuple[Row, Transcript]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recording.wav"
            soundfile.write(path, recording.samples, SAMPLE_RATE)
            row, decoded = _transcribe(recognizer, path, options, recording.name)
        words = [(word.start, word.end, word.word) for word in row.words or ()]
        segments = [(segment.start, segment.end, segment.text) for segment in row.segments]
        found = Row(row.text, row.language, segments, words, row.status, list(row.uncovered), decoded)
        return replace(found, languages=[segment.language for segment in row.segments]), row

    return run


def _transcribe(
    recognizer: Recognizer, path: Path, options: PipelineOptions, name: str
) -> tuple[Transcript, float]:
    item = AudioItem(name, path.name, str(path))
    transcriber = Transcriber(recognizer, options)
    for unit in split_item(item, probe(path)):
        transcriber.add(unit, path)
    spans = []
    while transcriber.open_units():
        spans += transcriber.advance(60)
    return assemble(item, spans), sum(span.decoded_seconds for span in spans)


def faster_whisper(folder: Path, batched: bool, threads: int = 2, **settings: Any) -> Runner:
    """faster-whisper (int8, beam 1): sequential with its defaults, or batched by eight behind its VAD."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model: Any = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
    if batched:
        model = BatchedInferencePipeline(model)
        settings = {"batch_size": 8, **settings}

    def run(recording: Recording) -> Row:
        found, info = model.transcribe(recording.samples, beam_size=1, word_timestamps=True, **settings)
        segments = list(found)
        words = [(word.start, word.end, word.word.strip()) for one in segments for word in one.words or ()]
        return Row(
            " ".join(one.text.strip() for one in segments),
            info.language,
            [(one.start, one.end, one.text.strip()) for one in segments],
            words,
        )

    return run


def transformers(folder: Path) -> Runner:
    """transformers' `generate`, float32, greedy, long-form decoding with time stamps."""
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    processor = WhisperProcessor.from_pretrained(folder)
    model = WhisperForConditionalGeneration.from_pretrained(folder, torch_dtype=torch.float32)

    def run(recording: Recording) -> Row:
        inputs = processor(
            recording.samples,
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            truncation=False,
            padding="longest" if recording.seconds > 30 else "max_length",
            return_attention_mask=True,
        )
        settings: dict[str, Any] = {"return_timestamps": True} if recording.seconds > 30 else {}
        if model.generation_config.is_multilingual:
            settings |= {"language": recording.language, "task": "transcribe"}
        with torch.no_grad():
            ids = model.generate(**inputs, **settings)
        return Row(
            processor.batch_decode(ids, skip_special_tokens=True)[0].strip(), recording.language, [], []
        )

    return run


def kept(run: Runner, cache: Path | None, *settings: object) -> Runner:
    """The runner with its rows cached as JSON in folder `cache`, by settings and samples."""
    if cache is None:
        return run

    def remembered(recording: Recording) -> Row:
        digest = hashlib.blake2b(np.ascontiguousarray(recording.samples).tobytes(), digest_size=16)
        digest.update(repr(settings).encode())
        file = cache / f"{digest.hexdigest()}.json"
        if not file.exists():
            file.write_text(json.dumps(asdict(run(recording))))
        return Row(**json.loads(file.read_text()))

    return remembered
