"""`asr-batch bench`: the throughput of this machine with all slots full."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, LoadOptions, Recognizer, WindowRequest

_ROUNDS = 4
"""Windows per slot to decode."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """`load`: seconds to open the model; `rtfx`: audio seconds per second; `occupancy`: slots in use."""

    load: float
    windows: int
    slots: int
    rtfx: float
    tokens_per_second: float
    occupancy: float

    def __str__(self) -> str:
        return (
            f"{self.windows} windows through {self.slots} slots: {self.rtfx:.0f} x real time, "
            f"{self.tokens_per_second:.0f} tokens/s, slots {100 * self.occupancy:.0f} % full, "
            f"model opened in {self.load:.2f} s"
        )


def throughput(bundle: Path, clips: Sequence[NDArray[np.float32]]) -> Throughput:
    """Decode the clips repeatedly, each cut to the model's window, until every slot has decoded four."""
    begun = time.perf_counter()
    model = load_recognizer(bundle, LoadOptions())
    load = time.perf_counter() - begun
    try:
        return _measure(model, clips, load)
    finally:
        model.close()


def _measure(model: Recognizer, clips: Sequence[NDArray[np.float32]], load: float) -> Throughput:
    language = None if model.info.languages == ("en",) else "en"
    count = _ROUNDS * model.info.batch
    longest = int(model.info.window * SAMPLE_RATE)
    windows = [clips[i % len(clips)][:longest] for i in range(count)]
    begun = time.perf_counter()
    submitted = tokens = 0
    while submitted < count or model.pending():
        while submitted < count and model.room():
            request = WindowRequest(submitted, windows[submitted], DecodeOptions(language=language))
            model.submit(request)
            submitted += 1
        tokens += sum(len(result.tokens) for result in model.poll())
    seconds = time.perf_counter() - begun
    used, available = model.occupancy()
    audio = sum(len(samples) for samples in windows) / SAMPLE_RATE
    share = used / available if available else 0.0
    return Throughput(load, count, model.info.batch, audio / seconds, tokens / seconds, share)
