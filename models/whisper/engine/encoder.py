"""The CPU encoder of a bundle behind the `Encoder` seam."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.encoder import EncoderJob
from asr_batch.models.onnx.options import Cores, graph_options
from asr_batch.models.onnx.sessions import open_session, runtime_errors
from asr_batch.models.whisper.kernels.encoder import open_encoder_kernel

Float32 = NDArray[np.float32]


AHEAD = 8
"""Windows encoded ahead of the decoder, so that encoding goes on while a full set of slots decodes."""


@dataclass(frozen=True, slots=True)
class CpuJob:
    """A batch on its way through the pool."""

    parts: tuple[Future[Float32], ...]
    cores: Cores
    backend: str = "cpu"
    flags: tuple[str, ...] = ()

    def done(self) -> bool:
        """Whether every window is encoded."""
        return all(part.done() for part in self.parts)

    def result(self) -> Float32:
        """The hidden states; waits for them."""
        if not self.done():
            with self.cores.lent():
                wait(self.parts)
        hidden = [part.result() for part in self.parts]
        return hidden[0] if len(hidden) == 1 else np.concatenate(hidden)


class CpuEncoder:
    """`encoder.onnx` of a bundle, or the kernel that computes the same where the processor has what it takes.

    Windows are encoded one by one, so that an activation scale per call (int8) is a scale per window and no
    window's text depends on its neighbours; one window per thread at a time, which costs less than several
    threads on one window, and goes on while the decoder steps.
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
        return CpuJob(tuple(self._pool.submit(self._encode, row[None]) for row in log_mel), self._cores)

    def _encode(self, log_mel: Float32) -> Float32:
        with self._cores.one(), runtime_errors("encoder"):
            return self._run(log_mel)

    def confirm(self) -> bool:
        """A CPU does not drift."""
        return True

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=True, cancel_futures=True)
