"""The CPU encoder of a worker whose NPU another asr-batch process holds: told from a CPU by choice."""

from __future__ import annotations

from asr_batch.models.encoder import Encoder, EncoderJob, Float32


class StandbyJob:
    """A CPU job whose windows carry the flag `fallback_encoder`."""

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
    """The `Encoder` seam in front of a CPU encoder that stands in for the NPU."""

    def __init__(self, cpu: Encoder) -> None:
        self._cpu = cpu
        self.backend = cpu.backend
        self.frames = cpu.frames
        self.n_mels = cpu.n_mels
        self.depth = cpu.depth
        self.max_batch = cpu.max_batch

    def start(self, log_mel: Float32) -> StandbyJob:
        """Encode [batch, n_mels, frames]."""
        return StandbyJob(self._cpu.start(log_mel))

    def confirm(self) -> bool:
        """Always: a CPU needs no probe."""
        return True

    def close(self) -> None:
        """Release the encoder."""
        self._cpu.close()
