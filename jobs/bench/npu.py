"""`asr-batch bench --npu`: CPU 30 s, CPU 10 s, hybrid and full NPU side by side, and the seed's table beside.

Each pipeline runs in a process of its own, so that its memory is its own. Windows go one after the other,
because seed 003 measured so: milliseconds of one window, not throughput.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asr_batch.jobs.quality import score
from asr_batch.manifests.errors import AsrBatchError, ConfigError, ItemError
from asr_batch.manifests.reader import open_manifest
from asr_batch.models.encoder import Encoder, Monitored
from asr_batch.models.hailo.api import is_double, open_encoder, vendor
from asr_batch.models.hailo.probe import golden_clip
from asr_batch.models.load import load_recognizer
from asr_batch.models.onnx.options import Cores
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, LoadOptions, Recognizer, WindowRequest
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.encoder import CpuEncoder
from asr_batch.models.whisper.silence import encoded_positions, features
from asr_batch.pipeline.audio.reader import probe, read_samples

log = logging.getLogger(__name__)
T = TypeVar("T")
Samples = NDArray[np.float32]
GOLDEN_TEXT = "The bear sleeps under the quiet village, and the lion waits behind the garden."


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio of one window: mono 16 kHz samples and, where known, what is said."""

    samples: Samples
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What is measured: a name, a bundle and where its halves run."""

    name: str
    bundle: Path
    options: LoadOptions


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the windows in milliseconds, memory in MiB, shares in percent; None: not measured."""

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


SEED = {
    "CPU 30 s": Row("CPU 30 s", 434.9, 149.9, 584.9, None, 348.8, None, 42.55, 19.05),
    "CPU 10 s": Row("CPU 10 s", 117.3, 108.5, 225.8, None, 331.1, None, 33.65, 13.62),
    "hybrid": Row("hybrid", 31.4, 101.1, 132.5, None, 266.6, None, 34.71, 14.02),
    "full NPU": Row("full NPU", 33.3, 1257.4, 1290.7, None, 238.6, None, 34.53, 15.02),
}
"""Whisper tiny on a Raspberry Pi 5 with Hailo's own HEFs, LibriSpeech dev-clean, 24 files, WER lower-cased
only, cropped to 9 s and 28 tokens (contract hailo.md, section 6); int8 where there is a choice."""


def pipelines(bundle: Path, long: Path | None, npu_service: bool = False) -> list[Pipeline]:
    """The four pipelines of the table; `long` is a bundle of 30 s windows of the same model."""
    npu = LoadOptions(encoder="hailo", batch_size=1, npu_service=npu_service)
    cpu = LoadOptions(encoder="cpu", batch_size=1)
    rows = [Pipeline("CPU 30 s", long, cpu)] if long is not None else []
    return [
        *rows,
        Pipeline("CPU 10 s", bundle, cpu),
        Pipeline("hybrid", bundle, npu),
        Pipeline("full NPU", bundle, replace(npu, decoder="npu")),
    ]


def measure_all(bundle: Path, clips: Sequence[Clip], long: Path | None = None) -> list[Row]:
    """Measure what can be; a pipeline that cannot run has the reason in `note`."""
    rows = [] if long is not None else [Row("CPU 30 s", note="not measured: no bundle of 30 s windows given")]
    for one in pipelines(bundle, long):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(measure, one, list(clips)).result())
    return rows


def measure(pipeline: Pipeline, clips: list[Clip]) -> Row:
    """One pipeline in this process."""
    try:
        model = load_recognizer(pipeline.bundle, pipeline.options)
    except AsrBatchError as error:
        return Row(pipeline.name, note=f"not measured: {error}")
    try:
        _decode(model, clips[0])
        memory = _peak_memory()  # before a second encoder is opened to time it alone
        return _measure(pipeline, model, clips, memory)
    finally:
        model.close()


def _measure(pipeline: Pipeline, model: Recognizer, clips: list[Clip], memory: float | None) -> Row:
    def cpu() -> CpuEncoder:
        return CpuEncoder(pipeline.bundle, Cores(1), pipeline.options.provider)

    encoder = open_encoder(pipeline.bundle, cpu, pipeline.options)
    trained = WhisperConfig.from_folder(pipeline.bundle).max_source_positions
    _encode(encoder, trained, clips[0])
    alone, totals, tokens, errors = [], [], 0, []
    for clip in clips:
        alone.append(_timed(partial(_encode, encoder, trained, clip))[0])
        total, (text, count) = _timed(partial(_decode, model, clip))
        totals.append(total)
        tokens += count
        if clip.reference is not None and len(clip.samples) <= model.info.window * SAMPLE_RATE:
            errors.append((score(clip.reference, text, "en"), len(clip.reference.split())))
    encoder.close()
    encoding, total = statistics.median(alone), statistics.median(totals)
    decoding = max(0.0, total - encoding)
    stats = model.stats() if isinstance(model, Monitored) else {}
    on_npu = pipeline.options.encoder == "cpu" or model.info.encoder_backend == "hailo"
    return Row(
        pipeline.name,
        encoding,
        decoding,
        total,
        1000 * tokens / len(clips) / decoding if decoding > 0 else None,
        memory,
        stats.get("temperature"),
        _weighted(errors, 0),
        _weighted(errors, 1),
        "" if on_npu else "the CPU stood in",
    )


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds and what came out."""
    begun = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - begun), result


def _encode(encoder: Encoder, trained: int, clip: Clip) -> None:
    positions = encoder.frames // 2 if encoder.frames else encoded_positions(len(clip.samples), trained)
    encoder.start(features(clip.samples, encoder.n_mels, positions, trained)[np.newaxis]).result()


def _decode(model: Recognizer, clip: Clip) -> tuple[str, int]:
    language = None if model.info.languages == ("en",) else "en"
    samples = clip.samples[: int(model.info.window * SAMPLE_RATE)]
    model.submit(WindowRequest("clip", samples, DecodeOptions(language=language)))
    result = model.poll()[0]
    return result.text, len(result.tokens)


def _weighted(errors: list[tuple[tuple[float, float], int]], which: int) -> float | None:
    """The mean error rate, weighted by words, in percent."""
    words = sum(count for _, count in errors)
    return 100 * sum(pair[which] * count for pair, count in errors) / words if words else None


def _peak_memory() -> float | None:
    """MiB of this process at its largest."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        return None


COLUMNS = ("pipeline", "enc ms", "dec ms", "total ms", "tokens/s", "MiB", "°C", "WER %", "CER %")


def npu_table(rows: Sequence[Row], double: bool) -> str:
    """The table as text: measured here, then the seed's figures, then what to know about both."""
    lines = [_line(COLUMNS)]
    lines += [_line(_cells(row)) for row in rows]
    lines += ["", "seed (Raspberry Pi 5, Whisper tiny, Hailo's HEFs; WER un-normalised):", _line(COLUMNS)]
    lines += [_line(_cells(row)) for row in SEED.values()]
    lines += [f"{row.name}: {row.note}" for row in rows if row.note]
    if double:
        lines += [
            "",
            "THE NPU IS A TEST DOUBLE: its times and temperatures are settings, not measurements.",
        ]
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
    """Whether the NPU here is a test double; False where there is none."""
    try:
        return is_double(vendor())
    except AsrBatchError:
        return False


def table(rows: Sequence[Row]) -> str:
    """What was measured here alone."""
    notes = [f"{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([_line(COLUMNS), *(_line(_cells(row)) for row in rows), *notes])


def measure_cpu(bundle: Path, clips: Sequence[Clip], long: Path | None = None) -> list[Row]:
    """The pipelines without an NPU."""
    rows = []
    for one in pipelines(bundle, long):
        if one.options.encoder == "cpu":
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows.append(pool.submit(measure, one, list(clips)).result())
    return rows


def clips_of(manifest: str | None, limit: int) -> list[Clip]:
    """The first `limit` readable rows of a manifest, or the packaged clip; raises ConfigError for none."""
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
            log.warning("%s: left out: %s", item.id, error)
    if not clips:
        raise ConfigError(f"{manifest}: no row could be read; give a manifest of local audio files")
    return clips
