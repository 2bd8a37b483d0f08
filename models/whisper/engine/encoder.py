"""The CPU encoder of a bundle: an `Encoder`, and threads for all other computation of a window."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.encoder import EncoderJob
from asr_batch.models.features import rounded
from asr_batch.models.onnx.options import Cores, graph_options
from asr_batch.models.onnx.sessions import open_session, runtime_errors
from asr_batch.models.whisper.kernels.opening import open_encoder_kernel

Float32 = NDArray[np.float32]
T = TypeVar("T")

AHEAD = 4
"""Windows prepared ahead of the decoder, so that encoding continues while all slots decode.
Cross-attention inputs are kept for each: 5 MB for 30 s at Whisper-tiny's size.
"""


@dataclass(frozen=True, slots=True)
class CpuWork(Generic[T]):
    """Work on a thread of the pool."""

    future: Future[T]
    cores: Cores

    def done(self) -> bool:
        """Whether `result` returns without waiting."""
        return self.future.done()

    def result(self) -> T:
        """The result or exception of the work; lends this thread's core while it waits."""
        if not self.future.done():
            with self.cores.lent():
                wait([self.future])
        return self.future.result()


@dataclass(frozen=True, slots=True)
class CpuJob:
    """A batch in the pool."""

    parts: tuple[CpuWork[Float32], ...]
    backend: str = "cpu"
    flags: tuple[str, ...] = ()

    def done(self) -> bool:
        """Whether every window is encoded."""
        return all(part.done() for part in self.parts)

    def result(self) -> Float32:
        """The hidden states; waits for them."""
        hidden = [part.result() for part in self.parts]
        return hidden[0] if len(hidden) == 1 else np.concatenate(hidden)


class CpuEncoder:
    """`encoder.onnx` of a bundle, or the kernel that computes the same if the processor supports it.

    Windows are encoded one by one, so that an activation scale per call (int8) is a scale per window, and
    no window's text depends on its neighbours. Each thread encodes one window at a time, which costs less
    than several threads on one window, and continues while the decoder steps.
    """

    backend = "cpu"
    frames = None
    max_batch = 1

    def __init__(self, folder: Path, cores: Cores, provider: str) -> None:
        self._cores = cores
        self._pool = ThreadPoolExecutor(cores.count, thread_name_prefix="encoder")
        self.depth = AHEAD
        self.provider, self.fallback = "cpu", False
        kernel = open_encoder_kernel(folder, provider)
        self.arithmetic = "graphs" if kernel is None else "kernels"
        self._run: Callable[[Float32], Float32]
        if kernel is not None:
            self._run, self.n_mels = kernel, kernel.n_mels
            return
        opened = open_session(folder / "encoder.onnx", provider=provider, options=graph_options(1))
        self.provider, self.fallback, session = opened.provider, opened.fallback, opened.session
        self._run = lambda log_mel: session.run(None, {"log_mel": log_mel})[0]
        self.n_mels = session.get_inputs()[0].shape[1]

    def start(self, log_mel: Float32, *, cpu: bool = False) -> EncoderJob:
        """Encode `log_mel` [batch, n_mels, frames], an even number of frames up to the model's length."""
        return CpuJob(tuple(self.work(partial(self.encode, row[None])) for row in log_mel))

    def work(self, task: Callable[[], T]) -> CpuWork[T]:
        """Run `task` on one of the threads when a core is free."""
        return CpuWork(self._pool.submit(self._on_a_core, task), self._cores)

    def _on_a_core(self, task: Callable[[], T]) -> T:
        with self._cores.one():
            return task()

    def encode(self, log_mel: Float32) -> Float32:
        """Hidden states of one window [1, n_mels, frames], in the calling thread."""
        with runtime_errors("encoder"):
            # Kernels compute the same on every processor if they are given the same.
            return self._run(rounded(log_mel) if self.arithmetic == "kernels" else log_mel)

    def confirm(self) -> bool:
        """Always True on a CPU."""
        return True

    def close(self) -> None:
        """Stop the threads; work that waits for a core gets the caller's."""
        with self._cores.lent():
            self._pool.shutdown(wait=True, cancel_futures=True)
