"""The `Encoder` on the NPU, with several windows in flight; on the CPU while the NPU cannot be trusted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from asr_batch.models.encoder import Encoder, EncoderJob, Float32
from asr_batch.models.hailo.faults import NpuError, Rung
from asr_batch.models.hailo.frames import Patience, Windows
from asr_batch.models.hailo.layout import Layout
from asr_batch.models.hailo.recovery.ladder import Ladder
from asr_batch.models.hailo.recovery.probe import Probe
from asr_batch.models.hailo.recovery.standby import StandIn
from asr_batch.models.hailo.session import Session
from asr_batch.models.hailo.slots import Frame

log = logging.getLogger(__name__)
AHEAD = 5
"""Most windows in flight: one on the device and some waiting, so that the device never idles."""
COUNTERS = ("npu_windows", "retries", "configures", "reopens", "losses", "probes", "suspects", "quarantined")


class HailoJob:
    """A batch of windows in flight, one frame each; `result` recovers from failures."""

    def __init__(self, encoder: HailoEncoder, log_mel: Float32) -> None:
        self._encoder = encoder
        self._hidden: Float32 | None = None
        self.log_mel = log_mel
        self.frames: list[Frame] = []
        self.parts: list[EncoderJob] = []
        self.generation = 0
        self.backend = "cpu"

    @property
    def flags(self) -> tuple[str, ...]:
        """`fallback_encoder` if the CPU encoded instead."""
        return () if self.backend == "hailo" else ("fallback_encoder",)

    def done(self) -> bool:
        """Whether all frames have returned, successfully or not."""
        running: list[Frame | EncoderJob] = [*self.frames, *self.parts]
        return self._hidden is not None or all(one.done() for one in running)

    def result(self) -> Float32:
        """Hidden states [batch, positions, width]; the first call waits, and recovers if necessary."""
        if self._hidden is None:
            self._hidden, self.backend = self._encoder.finish(self)
        return self._hidden


class HailoEncoder:
    """Encodes windows on the NPU, or on the CPU while the NPU cannot be trusted. Not thread-safe."""

    def __init__(
        self,
        session: Session,
        cpu: Callable[[], Encoder],
        probe: Callable[[Layout, Layout], Probe],
        *,
        probe_seconds: float = 60.0,
        patience: Patience | None = None,
    ) -> None:
        """Check the streams and run the first probe.

        Raises ModelError when the HEF is not a Whisper encoder, NpuError when the NPU accepts no window at
        all.
        """
        patience = patience or Patience()
        self._windows = Windows(session, patience)
        self._stand_in = StandIn(cpu, self._windows.window)
        self._probe = probe(self._windows.window, self._windows.hidden)
        self._ladder = Ladder(self._windows, self._probe, patience, probe_seconds)
        self._ladder.first_probe()

    @property
    def backend(self) -> str:
        """`hailo`, or `cpu` while the NPU is lost or quarantined."""
        return "hailo" if self._ladder.up else "cpu"

    @property
    def frames(self) -> int:
        """Log-mel frames of a window, from the HEF."""
        return self._windows.window.columns

    @property
    def n_mels(self) -> int:
        """Mel bins, from the HEF."""
        return self._windows.window.rows

    @property
    def width(self) -> int:
        """Width of the hidden states, from the HEF."""
        return self._windows.hidden.columns

    @property
    def depth(self) -> int:
        """Windows in flight: the length of HailoRT's queue, at most five; without the NPU the CPU's depth."""
        return min(self._windows.session.queue, AHEAD) if self._ladder.up else self._stand_in.encoder.depth

    @property
    def max_batch(self) -> int:
        """Always 1: the device takes single windows, and several jobs keep it busy."""
        return 1

    def start(self, log_mel: Float32, *, cpu: bool = False) -> HailoJob:
        """Start encoding [batch, n_mels, frames]; `cpu`: on the CPU. Raises ValueError on a wrong shape."""
        frames = log_mel.shape[2] if cpu and log_mel.ndim == 3 else self.frames
        if log_mel.ndim != 3 or log_mel.shape[1:] != (self.n_mels, frames):
            raise ValueError(
                f"log-mel of shape {log_mel.shape}; expected [batch, {self.n_mels}, {self.frames}]"
            )
        job = HailoJob(self, np.array(log_mel, np.float32))
        self._ladder.come_back()
        self._ladder.probe_if_due()
        if cpu or not self._ladder.up:
            job.parts = self._stand_in.start(job.log_mel)
            return job
        job.generation = self._windows.session.generation
        try:
            job.frames = self._windows.submit(job.log_mel)
        except NpuError as fault:
            log.warning("%s", fault)  # `finish` sees that there are no frames, and recovers
        return job

    def finish(self, job: HailoJob) -> tuple[Float32, str]:
        """Hidden states of `job` and the backend; falls back to the CPU if recovery fails."""
        if job.parts or not self._ladder.up:
            return self._stand_in.collect(job.parts or self._stand_in.start(job.log_mel)), "cpu"
        frames, job.frames = job.frames, []
        try:
            if not frames:
                raise NpuError(Rung.MODEL, "the window could not be submitted to the NPU")
            hidden = self._windows.collect(frames)
        except NpuError as fault:
            return self._recover(job, fault)
        return self._accept(job, hidden)

    def _recover(self, job: HailoJob, fault: NpuError) -> tuple[Float32, str]:
        if job.generation < self._windows.session.generation:
            # Lost with a configuration that has been replaced since: nothing is broken now.
            fault = NpuError(Rung.JOB, str(fault), fault.code)
        log.warning("%s", fault)
        for _ in self._ladder.rungs(fault):
            try:
                hidden = self._windows.encode(job.log_mel)
            except NpuError as again:
                log.warning("%s", again)
                continue
            return self._accept(job, hidden)
        return self._stand_in.encode(job.log_mel), "cpu"

    def _accept(self, job: HailoJob, hidden: Float32) -> tuple[Float32, str]:
        """Accept an NPU result; if it does not look like a Whisper encoder's, probe and encode again."""
        ladder = self._ladder
        if not self._probe.plausible(hidden):
            ladder.count["suspects"] += 1
            ladder.probe()
            try:
                if not ladder.up:
                    return self._stand_in.encode(job.log_mel), "cpu"
                hidden = self._windows.encode(job.log_mel)
            except NpuError as fault:
                log.warning("%s", fault)
                return self._stand_in.encode(job.log_mel), "cpu"
        ladder.count["npu_windows"] += len(hidden)
        ladder.unproved += len(hidden)
        return hidden, "hailo"

    def confirm(self) -> bool:
        """Probe if unverified windows exist; False, once, if they cannot be trusted."""
        return self._ladder.confirm()

    def stats(self) -> Mapping[str, float]:
        """Counters since loading, the last probe's cosine, temperature (°C) and clock (MHz)."""
        found = {name: float(self._ladder.count[name]) for name in COUNTERS}
        found["cpu_windows"] = float(self._stand_in.windows)
        found["probe_cosine"] = self._ladder.parity.cosine
        if (encode := self._windows.encode_ms) is not None:
            found["encode_ms"] = encode
        return {**found, **(self._windows.session.readings() if self._ladder.up else {})}

    def close(self) -> None:
        """Release device and CPU encoder."""
        self._windows.close()
        self._stand_in.close()
