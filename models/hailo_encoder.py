"""The NPU behind the `Encoder` seam: recovery ladder, parity probe, the CPU as the last rung.

The ladder, climbed from the rung that fits the failure, each rung bounded:

1. a window failed: the same window again;
2. the network is dead: configure again;
3. the device is lost: open it again, with waits in between;
4. still lost: the CPU encoder, and after a while one more try to open the device.

A probe (:mod:`asr_batch.models.hailo_probe`) follows each configuration; outside its bounds the NPU is
quarantined: the CPU encodes from then on and `confirm` says once that windows since the last good probe
cannot be trusted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Encoder, EncoderJob, Float32
from asr_batch.models.hailo_faults import INVALID_OPERATION, NpuError, Rung
from asr_batch.models.hailo_layout import Layout, hidden_layout, window_layout
from asr_batch.models.hailo_probe import Probe, Verdict
from asr_batch.models.hailo_session import Frame, Session, Slot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often; seconds. A window takes 30 ms on a Hailo, some more when it waits its turn;
    HailoRT itself gives up after 10 s.
    """

    deadline: float = 6.0
    shortest_deadline: float = 2.0
    configures: int = 2
    reopen_waits: tuple[float, ...] = (0.2, 1.0, 3.0)
    comeback_waits: tuple[float, ...] = (10.0, 30.0, 120.0, 600.0)
    incidents: int = 50


class HailoJob:
    """A batch of windows on its way: one frame each; `result` climbs the ladder if it must."""

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
        """`fallback_encoder` when the CPU stood in."""
        return () if self.backend == "hailo" else ("fallback_encoder",)

    def done(self) -> bool:
        """Whether all frames came back (well or not)."""
        running: list[Frame | EncoderJob] = [*self.frames, *self.parts]
        return self._hidden is not None or all(one.done() for one in running)

    def result(self) -> Float32:
        """Hidden states [batch, positions, width]; the first call waits and recovers."""
        if self._hidden is None:
            self._hidden, self.backend = self._encoder.finish(self)
        return self._hidden


class HailoEncoder:
    """Encodes windows on the NPU, on the CPU while there is none to trust. One thread uses it."""

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

        Raises ModelError when the HEF is no such encoder, NpuError when the NPU takes no window at all.
        """
        self._session: Session | None = session
        self._spare = session  # kept for coming back; closed while the CPU encodes
        self._make_cpu = cpu
        self._cpu: Encoder | None = None
        self._patience = patience or Patience()
        self._probe_seconds = probe_seconds
        self._free: list[Slot] = []
        self._count: Counter[str] = Counter()
        self._unproved = 0
        self._distrusted = False
        self._comeback: float | None = None
        self._durations: list[float] = []
        self._last_end = 0.0
        self._read_streams(session)
        self._probe = probe(self._window, self._hidden)
        self._verdict = Verdict()
        self._probed = time.monotonic()
        self._first_probe()

    def _read_streams(self, session: Session) -> None:
        if len(session.inputs) != 1 or len(session.outputs) != 1:
            raise ModelError(
                f"the HEF has {len(session.inputs)} inputs and {len(session.outputs)} outputs; an encoder "
                "has one each"
            )
        one, other = session.inputs[0], session.outputs[0]
        self._window: Layout = window_layout(one.name, one.shape, one.order)
        self._hidden: Layout = hidden_layout(other.name, other.shape, other.order, self._window.columns)

    def _first_probe(self) -> None:
        try:
            good = self._probe_now()
        except NpuError as fault:
            log.warning("the NPU failed in its first probe: %s", fault)
            good = self._probe_on_rungs(fault)
            if not good and fault.code == INVALID_OPERATION and not self._count["quarantined"]:
                raise  # nothing that passes: buffers that this installation will never take
        if not good and self._session is not None:
            self._quarantine()

    # -- the seam -------------------------------------------------------------------------------------

    @property
    def backend(self) -> str:
        """`hailo`, or `cpu` while the NPU is lost or quarantined."""
        return "cpu" if self._session is None else "hailo"

    @property
    def frames(self) -> int:
        """Log-mel frames of a window, from the HEF."""
        return self._window.columns

    @property
    def n_mels(self) -> int:
        """Mel bins, from the HEF."""
        return self._window.rows

    @property
    def width(self) -> int:
        """Width of the hidden states, from the HEF."""
        return self._hidden.columns

    @property
    def depth(self) -> int:
        """Windows in flight: as many as HailoRT's queue takes, at most 4 beyond the first."""
        return self._cpu_encoder().depth if self._session is None else min(self._session.queue, 5)

    @property
    def max_batch(self) -> int:
        """One: the device takes single windows; several jobs keep it busy."""
        return 1

    def start(self, log_mel: Float32) -> HailoJob:
        """Hand [batch, n_mels, frames] over; raises ValueError for another shape."""
        if log_mel.ndim != 3 or log_mel.shape[1:] != (self.n_mels, self.frames):
            raise ValueError(
                f"log-mel of shape {log_mel.shape}; expected [batch, {self.n_mels}, {self.frames}]"
            )
        job = HailoJob(self, np.array(log_mel, np.float32))
        self._come_back()
        self._probe_if_due()
        if self._session is not None:
            job.generation = self._session.generation
            try:
                job.frames = self._submit(self._session, job.log_mel)
            except NpuError as fault:
                log.warning("%s", fault)  # `finish` sees the dead model and climbs the ladder
        else:
            job.parts = self._start_on_cpu(job.log_mel)
        return job

    def confirm(self) -> bool:
        """Probe now if windows wait for it; False once after the NPU could not be trusted."""
        if self._unproved and not self._distrusted:
            if self._session is None:
                self._distrusted = True  # lost before its windows could be proved
            else:
                self._probe_with_ladder()
        trusted, self._distrusted, self._unproved = not self._distrusted, False, 0
        return trusted

    def stats(self) -> Mapping[str, float]:
        """Counters since loading, the last probe's figures, temperature (°C) and clock (MHz)."""
        names = (
            "npu_windows",
            "cpu_windows",
            "retries",
            "configures",
            "reopens",
            "losses",
            "probes",
            "suspects",
        )
        found: dict[str, float] = {name: float(self._count[name]) for name in names}
        found["quarantined"] = float(self._count["quarantined"])
        found["probe_cosine"] = self._verdict.cosine
        if self._durations:
            found["encode_ms"] = 1000 * float(np.median(self._durations))
        return {**found, **(self._session.readings() if self._session is not None else {})}

    def close(self) -> None:
        """Release device and CPU encoder."""
        self._free.clear()
        self._session = None
        self._spare.close()
        if self._cpu is not None:
            self._cpu.close()

    # -- frames ---------------------------------------------------------------------------------------

    def _deadline(self) -> float:
        if len(self._durations) < 8:
            return self._patience.deadline
        usual = 50 * float(np.median(self._durations))
        return min(self._patience.deadline, max(self._patience.shortest_deadline, usual))

    def _submit(self, session: Session, log_mel: Float32) -> list[Frame]:
        return [self._submit_one(session, window) for window in log_mel]

    def _submit_one(self, session: Session, window: Float32) -> Frame:
        slot = self._free.pop() if self._free else None
        if slot is None:
            inputs = {self._window.name: self._window.buffer()}
            slot = session.slot(inputs, {self._hidden.name: self._hidden.buffer()})
        np.copyto(self._window.matrix(slot.inputs[self._window.name]), window)
        return session.submit(slot, self._deadline())

    def _collect(self, session: Session, frames: list[Frame]) -> Float32:
        """Wait for frames of the present configuration and copy their hidden states."""
        hidden = np.empty((len(frames), self._hidden.rows, self._hidden.columns), np.float32)
        for row, frame in enumerate(frames):
            frame.wait(self._deadline() if frame.generation == session.generation else 0.0)
            self._durations = [*self._durations[-31:], frame.ended - max(frame.begun, self._last_end)]
            self._last_end = frame.ended
            np.copyto(hidden[row], self._hidden.matrix(frame.slot.outputs[self._hidden.name]))
            if frame.generation == session.generation:
                self._free.append(frame.slot)
        if not np.isfinite(hidden).all() or float(np.ptp(hidden)) == 0.0:
            raise NpuError(
                Rung.JOB, "while encoding: the NPU gave numbers that are not finite or all the same"
            )
        return hidden

    def finish(self, job: HailoJob) -> tuple[Float32, str]:
        """Hidden states of `job` and who made them; never gives up while the CPU can encode."""
        session = self._session
        if job.parts or session is None:
            return self._from_cpu(job.parts or self._start_on_cpu(job.log_mel)), "cpu"
        try:
            if not job.frames:
                raise NpuError(Rung.MODEL, "the window could not be handed to the NPU")
            hidden = self._collect(session, job.frames)
        except NpuError as fault:
            return self._recover(job, fault)
        finally:
            job.frames = []
        return self._accept(job, hidden)

    def _accept(self, job: HailoJob, hidden: Float32) -> tuple[Float32, str]:
        """Take an NPU result; one unlike anything a Whisper encoder makes is probed and made again."""
        if not self._probe.plausible(hidden):
            self._count["suspects"] += 1
            self._probe_with_ladder()
            session = self._session
            try:
                if session is None:
                    return self._on_cpu(job.log_mel), "cpu"
                hidden = self._collect(session, self._submit(session, job.log_mel))
            except NpuError as fault:
                log.warning("%s", fault)
                return self._on_cpu(job.log_mel), "cpu"
        self._count["npu_windows"] += len(hidden)
        self._unproved += len(hidden)
        return hidden, "hailo"

    # -- the ladder -----------------------------------------------------------------------------------

    def _recover(self, job: HailoJob, fault: NpuError) -> tuple[Float32, str]:
        if self._session is not None and job.generation < self._session.generation:
            # Lost with a configuration that was replaced since: nothing is broken now.
            fault = NpuError(Rung.JOB, str(fault), fault.code)
        log.warning("%s", fault)
        job.frames = []
        for session in self._rungs(fault):
            try:
                hidden = self._collect(session, self._submit(session, job.log_mel))
            except NpuError as again:
                log.warning("%s", again)
                continue
            return self._accept(job, hidden)
        return self._on_cpu(job.log_mel), "cpu"

    def _rungs(self, fault: NpuError) -> Iterator[Session]:
        """Sessions worth another try, from the rung that `fault` asks for; at the end the NPU is given up."""
        session = self._session
        if session is None:
            return
        self._count["incidents"] += 1
        spent = self._count["incidents"] > self._patience.incidents
        if fault.rung is Rung.JOB and not spent:
            self._count["retries"] += 1
            yield session
        if fault.rung <= Rung.MODEL and not spent:
            for _ in range(self._patience.configures):
                if self._configured(session):
                    yield session
                if self._session is None:
                    return
        if fault.rung <= Rung.DEVICE and not spent:
            for seconds in self._patience.reopen_waits:
                if self._reopened(session, seconds):
                    yield session
                if self._session is None:
                    return
        self._give_up(str(fault))

    def _configured(self, session: Session) -> bool:
        self._free.clear()
        self._count["configures"] += 1
        try:
            session.configure()
            return self._proved()
        except NpuError as fault:
            log.warning("%s", fault)
            return False

    def _reopened(self, session: Session, seconds: float) -> bool:
        self._free.clear()
        self._count["reopens"] += 1
        session.close(broken=True)
        time.sleep(seconds)
        try:
            session.reopen()
            return self._proved()
        except (NpuError, ModelError) as fault:
            log.warning("%s", fault)
            return False

    def _proved(self) -> bool:
        """Probe a fresh configuration; quarantines the NPU when it is outside the bounds."""
        if self._probe_now():
            return True
        self._quarantine()
        return False

    def _give_up(self, why: str) -> None:
        """The CPU encodes from here on; the device is tried again later, less and less often."""
        waits = self._patience.comeback_waits
        losses = self._count["losses"]
        self._count["losses"] += 1
        self._count["incidents"] = 0
        self._leave()
        if losses < 2 * len(waits):
            self._comeback = time.monotonic() + waits[min(losses, len(waits) - 1)]
        log.error("the NPU is given up and the CPU encodes: %s", why)

    def _quarantine(self) -> None:
        self._count["quarantined"] = 1
        self._distrusted = self._unproved > 0
        self._leave()
        log.error("the NPU is quarantined and the CPU encodes: %s", self._verdict)

    def _leave(self) -> None:
        self._free.clear()
        self._session = None
        self._comeback = None
        self._spare.close()

    def _come_back(self) -> None:
        """Try to return to the NPU when its time has come; one quick attempt."""
        if self._session is not None or self._comeback is None or time.monotonic() < self._comeback:
            return
        self._comeback = None
        self._count["reopens"] += 1
        try:
            self._spare.reopen()
            self._session = self._spare
            if self._proved():
                log.warning("the NPU is back")
        except (NpuError, ModelError) as fault:
            self._give_up(str(fault))

    # -- the probe ------------------------------------------------------------------------------------

    def _probe_if_due(self) -> None:
        """For callers that never confirm: a bad probe here is told by the next `confirm`."""
        if self._session is not None and time.monotonic() - self._probed > 2 * self._probe_seconds:
            self._probe_with_ladder()

    def _probe_with_ladder(self) -> None:
        """Probe; a failing device is recovered first, a lost or drifted one leaves its windows distrusted."""
        try:
            good = self._probe_now()
        except NpuError as fault:
            log.warning("%s", fault)
            good = self._probe_on_rungs(fault)
        if good:
            self._unproved = 0
        elif self._session is not None:
            self._quarantine()
        else:
            self._distrusted = self._distrusted or self._unproved > 0

    def _probe_on_rungs(self, fault: NpuError) -> bool:
        for _ in self._rungs(fault):
            try:
                return self._probe_now()
            except NpuError as again:
                log.warning("%s", again)
        return False

    def _probe_now(self) -> bool:
        """Encode the golden clip and compare. Raises NpuError."""
        session = self._session
        if session is None:
            return False
        self._count["probes"] += 1
        self._probed = time.monotonic()
        frames = self._submit(session, self._probe.log_mel[np.newaxis])
        self._verdict = self._probe.judge(self._collect(session, frames)[0])
        log.info("parity probe: %s", self._verdict)
        return self._verdict.good

    # -- the CPU --------------------------------------------------------------------------------------

    def _on_cpu(self, log_mel: Float32) -> Float32:
        return self._from_cpu(self._start_on_cpu(log_mel))

    def _start_on_cpu(self, log_mel: Float32) -> list[EncoderJob]:
        cpu = self._cpu_encoder()
        self._count["cpu_windows"] += len(log_mel)
        size = max(1, cpu.max_batch)
        return [cpu.start(log_mel[i : i + size]) for i in range(0, len(log_mel), size)]

    def _from_cpu(self, parts: Sequence[EncoderJob]) -> Float32:
        hidden = [part.result() for part in parts]
        return np.concatenate(hidden) if len(hidden) != 1 else hidden[0]

    def _cpu_encoder(self) -> Encoder:
        if self._cpu is None:
            cpu = self._make_cpu()
            if (cpu.n_mels, cpu.frames) != (self.n_mels, self.frames):
                raise ModelError(
                    f"the HEF encodes {self.n_mels} × {self.frames} log-mel values, the bundle's CPU encoder "
                    f"{cpu.n_mels} × {cpu.frames}; compile the bundle with --window {self.frames / 100:g}"
                )
            self._cpu = cpu
        return self._cpu
