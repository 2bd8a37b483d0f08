"""`asr-batch bench`: how long one window takes, on the CPU and, with `--npu`, on the NPU.

Every pipeline runs in its own process, to measure its memory. Windows are decoded one at a time: the
figures are milliseconds per window, not throughput (see :mod:`asr_batch.jobs.bench.throughput`).
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.jobs.quality import Errors, compare
from asr_batch.manifests.errors import AsrBatchError, ConfigError, ItemError
from asr_batch.manifests.reader import open_manifest
from asr_batch.models.encoder import Monitored
from asr_batch.models.hailo.api import is_double, vendor
from asr_batch.models.hailo.recovery.probe import golden_clip
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import (
    SAMPLE_RATE,
    DecodeOptions,
    LoadOptions,
    Recognizer,
    WindowRequest,
    WindowResult,
)
from asr_batch.models.whisper.timing import encoder_times
from asr_batch.pipeline.audio.reader import probe, read_samples

log = logging.getLogger(__name__)
Samples = NDArray[np.float32]
GOLDEN_TEXT = "The bear sleeps under the quiet village, and the lion waits behind the garden."
COLUMNS = ("pipeline", "enc ms", "dec ms", "total ms", "tokens/s", "MiB", "°C", "WER %", "CER %")


@dataclass(frozen=True, slots=True)
class Clip:
    """The audio of one window: mono 16 kHz samples, and its transcript if known."""

    samples: Samples
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A way to decode windows. `padded`: padded with silence to the length that the model was trained on."""

    name: str
    options: LoadOptions
    padded: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over windows in milliseconds, peak memory in MiB, error rates in percent; None: not measured.

    `decoder` is the total without the encoder.
    """

    name: str
    encoder: float | None = None
    decoder: float | None = None
    total: float | None = None
    tokens_per_second: float | None = None
    memory: float | None = None
    temperature: float | None = None
    wer: float | None = None
    cer: float | None = None
    note: str = ""


CPU = LoadOptions(encoder="cpu", batch_size=1)
NPU = LoadOptions(encoder="hailo", batch_size=1)
CPU_PIPELINES = (Pipeline("CPU, 30 s", CPU, padded=True), Pipeline("CPU", CPU))
NPU_PIPELINES = (Pipeline("hybrid", NPU), Pipeline("full NPU", replace(NPU, decoder="npu")))


def measure_all(model: Path, clips: Sequence[Clip], *, npu: bool = False) -> list[Row]:
    """Measure every pipeline, with `npu` also those on the NPU; `note` says why one could not run."""
    rows = []
    for pipeline in (*CPU_PIPELINES, *(NPU_PIPELINES if npu else ())):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(measure, pipeline, model, list(clips)).result())
    return rows


def measure(pipeline: Pipeline, model: Path, clips: list[Clip]) -> Row:
    """Measure one pipeline in this process."""
    try:
        recognizer = load_recognizer(model, pipeline.options)
    except AsrBatchError as error:
        return Row(pipeline.name, note=f"not measured: {error}")
    try:
        _decode(recognizer, clips[0], pipeline.padded)  # warm-up
        memory = _peak_memory()  # before a second encoder is opened and timed separately
        return _measure(pipeline, recognizer, clips, memory)
    finally:
        recognizer.close()


def _measure(pipeline: Pipeline, model: Recognizer, clips: list[Clip], memory: float | None) -> Row:
    totals, tokens, errors = [], 0, Errors()
    for clip in clips:
        begun = time.perf_counter()
        result = _decode(model, clip, pipeline.padded)
        totals.append(1000 * (time.perf_counter() - begun))
        tokens += len(result.tokens)
        if clip.reference is not None and len(clip.samples) <= _longest(model):
            errors += compare(clip.reference, result.text, "en")
    windows = [clip.samples[: _longest(model)] for clip in clips]
    alone = encoder_times(Path(model.info.path), pipeline.options, windows, padded=pipeline.padded)
    total, encoding = statistics.median(totals), statistics.median(alone) if alone else None
    decoding = None if encoding is None else max(0.0, total - encoding)
    stats = model.stats() if isinstance(model, Monitored) else {}
    on_npu = pipeline.options.encoder == "cpu" or model.info.encoder_backend == "hailo"
    return Row(
        pipeline.name,
        encoding,
        decoding,
        total,
        1000 * tokens / len(clips) / decoding if decoding else None,
        memory,
        stats.get("temperature"),
        100 * errors.wer if errors.rows else None,
        100 * errors.cer if errors.rows else None,
        "" if on_npu else "encoded on the CPU, because the NPU failed",
    )


def _longest(model: Recognizer) -> int:
    """Samples of the longest window."""
    return int(model.info.window * SAMPLE_RATE)


def _decode(model: Recognizer, clip: Clip, padded: bool) -> WindowResult:
    language = None if model.info.languages == ("en",) else "en"
    options = DecodeOptions(language=language, plain=padded)
    model.submit(WindowRequest("clip", clip.samples[: _longest(model)], options))
    return model.poll()[0]


def _peak_memory() -> float | None:
    """Peak memory of this process in MiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        return None


def table(rows: Sequence[Row], *, double: bool = False) -> str:
    """The rows as text, with their notes; `double`: the NPU is a test double."""
    lines = [_line(COLUMNS), *(_line(_cells(row)) for row in rows)]
    lines += [f"{row.name}: {row.note}" for row in rows if row.note]
    if double:
        lines.append("THE NPU IS A TEST DOUBLE: its times and temperatures are settings, not measurements.")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    values = (row.encoder, row.decoder, row.total, row.tokens_per_second, row.memory, row.temperature)
    shares = (row.wer, row.cer)
    return (
        row.name,
        *("-" if value is None else f"{value:.1f}" for value in values),
        *("-" if value is None else f"{value:.2f}" for value in shares),
    )


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:<10}" + "".join(f"{cell:>10}" for cell in cells[1:])


def on_a_double() -> bool:
    """Whether the NPU here is a test double; False if there is none."""
    try:
        return is_double(vendor())
    except AsrBatchError:
        return False


def clips_of(manifest: str | None, limit: int) -> list[Clip]:
    """The first `limit` readable rows of a manifest, or the packaged clip. Raises ConfigError."""
    if manifest is None:
        return [Clip(golden_clip(), GOLDEN_TEXT)]
    clips: list[Clip] = []
    for item in open_manifest(manifest).rows():
        if len(clips) >= limit:
            break
        try:
            path = Path(item.location)
            end = item.end if item.end is not None else probe(path).duration
            clips.append(Clip(read_samples(path, item.start or 0.0, end, item.channel), item.reference))
        except ItemError as error:
            log.warning("%s: skipped: %s", item.id, error)
    if not clips:
        raise ConfigError(f"{manifest}: no row could be read; expected a manifest of local audio files")
    return clips
