"""Runs windows through a configured encoder HEF: layouts, reusable buffers, deadlines."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Float32
from asr_batch.models.hailo.faults import NpuError, Rung
from asr_batch.models.hailo.layout import Layout, hidden_layout, window_layout
from asr_batch.models.hailo.session import Session
from asr_batch.models.hailo.slots import Frame, Slot

SEEN, TIMES = 32, 50
"""How many recent windows are timed, and how many times the median a window may take."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Deadlines, waits (seconds) and attempts of recovery.

    A window takes 30 ms on a Hailo, more when it has to wait its turn; HailoRT itself gives up after 10 s.
    """

    deadline: float = 6.0
    shortest_deadline: float = 2.0
    configures: int = 2
    reopen_waits: tuple[float, ...] = (0.2, 1.0, 3.0)
    comeback_waits: tuple[float, ...] = (10.0, 30.0, 120.0, 600.0)
    incidents: int = 50


class Windows:
    """The encoder's view of one session. Not thread-safe."""

    def __init__(self, session: Session, patience: Patience) -> None:
        """Find the layouts. Raises ModelError when the HEF is not a Whisper encoder."""
        self.session = session
        self._patience = patience
        self._free: list[Slot] = []
        self._durations: list[float] = []
        self._last_end = 0.0
        if len(session.inputs) != 1 or len(session.outputs) != 1:
            raise ModelError(
                f"the HEF has {len(session.inputs)} inputs and {len(session.outputs)} outputs; expected one "
                "of each for an encoder"
            )
        one, other = session.inputs[0], session.outputs[0]
        self.window: Layout = window_layout(one.name, one.shape, one.order)
        self.hidden: Layout = hidden_layout(other.name, other.shape, other.order, self.window.columns)

    @property
    def encode_ms(self) -> float | None:
        """Median milliseconds per window on the device; None before the first."""
        return 1000 * float(np.median(self._durations)) if self._durations else None

    def _deadline(self) -> float:
        if len(self._durations) < 8:
            return self._patience.deadline
        usual = TIMES * float(np.median(self._durations))
        return min(self._patience.deadline, max(self._patience.shortest_deadline, usual))

    def encode(self, log_mel: Float32) -> Float32:
        """Hidden states of windows [batch, n_mels, frames]. Raises NpuError."""
        return self.collect(self.submit(log_mel))

    def submit(self, log_mel: Float32) -> list[Frame]:
        """Start one frame for each window [batch, n_mels, frames]. Raises NpuError."""
        return [self._submit_one(window) for window in log_mel]

    def _submit_one(self, window: Float32) -> Frame:
        slot = self._free.pop() if self._free else None
        if slot is None:
            inputs = {self.window.name: self.window.buffer()}
            slot = self.session.slot(inputs, {self.hidden.name: self.hidden.buffer()})
        np.copyto(self.window.matrix(slot.inputs[self.window.name]), window)
        return self.session.submit(slot, self._deadline())

    def collect(self, frames: list[Frame]) -> Float32:
        """Wait for frames and copy their hidden states [batch, positions, width]. Raises NpuError."""
        hidden = np.empty((len(frames), self.hidden.rows, self.hidden.columns), np.float32)
        generation = self.session.generation
        for row, frame in enumerate(frames):
            frame.wait(self._deadline() if frame.generation == generation else 0.0)
            self._durations = [*self._durations[1 - SEEN :], frame.ended - max(frame.begun, self._last_end)]
            self._last_end = frame.ended
            np.copyto(hidden[row], self.hidden.matrix(frame.slot.outputs[self.hidden.name]))
            if frame.generation == generation:
                self._free.append(frame.slot)
        if not np.isfinite(hidden).all() or float(np.ptp(hidden)) == 0.0:
            raise NpuError(
                Rung.JOB, "while encoding: the NPU returned values that are not finite or all equal"
            )
        return hidden

    def configure(self) -> None:
        """Configure the network again. Raises NpuError."""
        self._free.clear()
        self.session.configure()

    def reopen(self, seconds: float = 0.0) -> None:
        """Close, wait, reopen and configure. Raises NpuError or ModelError."""
        self._free.clear()
        self.session.close(broken=True)
        time.sleep(seconds)
        self.session.reopen()

    def close(self) -> None:
        """Release buffers, network and device."""
        self._free.clear()
        self.session.close()
