"""Buffers of a frame on the NPU, and the frame while it is in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from asr_batch.models.encoder import Float32
from asr_batch.models.hailo.faults import NpuError, Rung, explain
from asr_batch.models.hailo.quantised import Quantisation


class Slot:
    """Buffers and bindings of one frame; reused when the frame is back.

    `inputs` and `outputs` hold real values; where the device takes integers only, `quantised` names the
    streams, and buffers of integers stand between.
    """

    def __init__(
        self,
        configured: Any,
        inputs: Mapping[str, Float32],
        outputs: Mapping[str, Float32],
        quantised: Mapping[str, Quantisation] | None = None,
    ) -> None:
        self.inputs = dict(inputs)
        self.outputs = dict(outputs)
        self._quantised = dict(quantised or {})
        arrays = {**self.inputs, **self.outputs}
        self._stored = {name: np.zeros(arrays[name].shape, q.dtype) for name, q in self._quantised.items()}
        self.bindings: Any = configured.create_bindings()
        for name, array in self.inputs.items():
            self.bindings.input(name).set_buffer(self._stored.get(name, _checked(array)))
        for name, array in self.outputs.items():
            self.bindings.output(name).set_buffer(self._stored.get(name, _checked(array)))

    def send(self) -> None:
        """Bring the inputs into the form that the device takes."""
        for name, stored in self._stored.items():
            if name in self.inputs:
                self._quantised[name].store(self.inputs[name], stored)

    def receive(self) -> None:
        """Bring the outputs back to real values."""
        for name, stored in self._stored.items():
            if name in self.outputs:
                self._quantised[name].restore(stored, self.outputs[name])


def _checked(array: Float32) -> Float32:
    """Check what HailoRT checks too late or not at all."""
    if array.dtype != np.float32 or not array.flags.c_contiguous or not array.flags.writeable:
        raise AssertionError("NPU buffers are float32, C-contiguous and writeable")
    return array


class Frame:
    """One frame in flight; `generation` counts configurations, to recognise failures of an old one."""

    def __init__(self, slot: Slot, generation: int) -> None:
        self.slot = slot
        self.generation = generation
        self.job: Any = None
        self.error: BaseException | None = None
        self.begun = time.monotonic()
        self.ended = self.begun
        self._back = threading.Event()

    def returned(self, *, completion_info: Any) -> None:
        """The callback, on a thread of the library: store the outcome and return."""
        try:
            self.error = completion_info.exception
        except Exception as exc:  # noqa: BLE001 - an exception must not leave a native thread
            self.error = exc
        self.ended = time.monotonic()
        self._back.set()

    def done(self) -> bool:
        """Whether the callback has run."""
        return self._back.is_set()

    def wait(self, seconds: float) -> None:
        """Wait for the frame. Raises NpuError when it failed or timed out."""
        came, self.job = self._back.wait(seconds), None
        if not came:
            text = (
                f"while encoding: no answer from the NPU in {seconds:.1f} s; the network is configured again"
            )
            raise NpuError(Rung.MODEL, text, 4)
        if self.error is not None:
            raise explain(self.error, "encoding", Rung.JOB)
        self.slot.receive()
