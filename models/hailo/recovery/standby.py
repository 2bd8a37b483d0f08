"""The CPU encoder in place of an NPU; its results are flagged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Encoder, EncoderJob, Float32
from asr_batch.models.hailo.layout import Layout


class StandIn:
    """The bundle's CPU encoder, opened when it is first needed."""

    def __init__(self, make: Callable[[], Encoder], window: Layout) -> None:
        self._make = make
        self._window = window
        self._cpu: Encoder | None = None
        self.windows = 0

    @property
    def encoder(self) -> Encoder:
        """The encoder. Raises ModelError when it belongs to another model than the HEF."""
        if self._cpu is None:
            cpu, bins = self._make(), self._window.rows
            if cpu.n_mels != bins:
                raise ModelError(f"the HEF takes {bins} mel bins, the bundle's CPU encoder {cpu.n_mels}")
            self._cpu = cpu
        return self._cpu

    def start(self, log_mel: Float32) -> list[EncoderJob]:
        """Jobs for windows [batch, n_mels, frames]."""
        self.windows += len(log_mel)
        size = max(1, self.encoder.max_batch)
        return [self.encoder.start(log_mel[i : i + size]) for i in range(0, len(log_mel), size)]

    def collect(self, jobs: Sequence[EncoderJob]) -> Float32:
        """Hidden states [batch, positions, width] of the jobs."""
        hidden = [job.result() for job in jobs]
        return np.concatenate(hidden) if len(hidden) != 1 else hidden[0]

    def encode(self, log_mel: Float32) -> Float32:
        """Hidden states of windows [batch, n_mels, frames]."""
        return self.collect(self.start(log_mel))

    def close(self) -> None:
        """Release the encoder."""
        if self._cpu is not None:
            self._cpu.close()


class StandbyJob:
    """A CPU job whose windows are flagged `fallback_encoder`."""

    backend = "cpu"
    flags = ("fallback_encoder",)

    def __init__(self, job: EncoderJob) -> None:
        self._job = job

    def done(self) -> bool:
        """Whether `result` returns without waiting."""
        return self._job.done()

    def result(self) -> Float32:
        """Hidden states [batch, positions, width]."""
        return self._job.result()


class Standby:
    """The CPU `Encoder` for a worker whose NPU another asr-batch process holds."""

    def __init__(self, cpu: Encoder) -> None:
        self._cpu = cpu
        self.backend = cpu.backend
        self.frames = cpu.frames
        self.n_mels = cpu.n_mels
        self.depth = cpu.depth
        self.max_batch = cpu.max_batch

    def start(self, log_mel: Float32, *, cpu: bool = False) -> StandbyJob:
        """Encode [batch, n_mels, frames]."""
        return StandbyJob(self._cpu.start(log_mel))

    def confirm(self) -> bool:
        """Always True: a CPU needs no probe."""
        return True

    def close(self) -> None:
        """Release the encoder."""
        self._cpu.close()
