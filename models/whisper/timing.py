"""Times the encoder of a compiled bundle by itself, for `asr-batch bench`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from asr_batch.models.onnx.options import Cores
from asr_batch.models.recognizer import LoadOptions, Samples
from asr_batch.models.whisper.bundle import read_bundle
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.encoder import CpuEncoder
from asr_batch.models.whisper.engine.feed import EncoderFeed
from asr_batch.models.whisper.opening import choose_encoder


def encoder_times(
    folder: Path, options: LoadOptions, windows: Iterable[Samples], *, padded: bool = False
) -> list[float] | None:
    """Milliseconds from samples to hidden states of each window, one after the other, after a warm-up.

    `padded`: windows are padded with silence to the length that the model was trained on, on the CPU. None
    if `folder` is not a compiled bundle. Raises ModelError or WorkerFatalError.
    """
    if not (folder / "bundle.json").is_file():
        return None
    cores = Cores(options.threads or os.cpu_count() or 1)
    cpu = partial(CpuEncoder, folder, cores, options.provider)
    encoder = choose_encoder(read_bundle(folder), options, cpu)
    try:
        trained = WhisperConfig.from_folder(folder).max_source_positions
        feed: EncoderFeed[None, None] = EncoderFeed(encoder, trained, lambda _: None)
        times = [_timed(feed, samples, padded) for samples in _warm(windows)]
    finally:
        encoder.close()
    return times[1:]


def _warm(windows: Iterable[Samples]) -> list[Samples]:
    """The windows, the first one twice: the first run allocates memory."""
    every = list(windows)
    return [*every[:1], *every]


def _timed(feed: EncoderFeed[None, None], samples: Samples, padded: bool) -> float:
    begun = time.perf_counter()
    feed.put(None, samples, whole=padded)
    feed.take()
    return 1000 * (time.perf_counter() - begun)
