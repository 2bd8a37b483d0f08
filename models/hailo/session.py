"""One HEF configured on the NPU: frames in, frames out, through HailoRT's asynchronous InferModel API.

Properties of that API which this module relies on: inference failures reach only the callback, never `wait`;
any error inside `run_async` kills the configured model, so buffers are allocated here, once, in the right
size; one Bindings object serves one frame in flight; `wait_for_async_ready` precedes each `run_async`; the
callback neither raises nor blocks; bindings and model are released before the VDevice.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Float32
from asr_batch.models.hailo.device import Hold, acquire, release
from asr_batch.models.hailo.faults import INVALID_OPERATION, SAME_IN_NUMPY_2, NpuError, Rung, explain
from asr_batch.models.hailo.hef import HefHeader, read_header, runs_on
from asr_batch.models.hailo.layout import MEMORY_AXES
from asr_batch.models.hailo.quantised import Quantisation
from asr_batch.models.hailo.slots import Frame, Slot

log = logging.getLogger(__name__)
INTEGERS_ONLY = ("hailo10h",)
"""Devices on which InferModel takes no FLOAT32 streams."""

BURST = 4
"""Frames per context switch, for networks that do not fit on the chip as a whole."""


class Stream:
    """Name, shape without batch and memory order of one input or output of the HEF.

    `integers`: the device takes and gives stored values only, so `quantisation` is set.
    """

    def __init__(self, hrt: Any, native: Any, integers: bool) -> None:
        self.name = str(native.name)
        self.quantisation = _integers(hrt, native) if integers else None
        if not integers:
            native.set_format_type(hrt.FormatType.FLOAT32)
        self.order = _order(native)
        if self.order not in MEMORY_AXES and self.order != "NC":
            native.set_format_order(hrt.FormatOrder.NHWC)
            self.order = "NHWC"
        self.shape = [int(size) for size in native.shape]


def _integers(hrt: Any, native: Any) -> Quantisation:
    """Set the stream to what the HEF stores: uint16 where it does, else uint8."""
    kind = native.format.type
    wide = str(getattr(kind, "name", kind)).rsplit(".", 1)[-1] == "UINT16"
    native.set_format_type(hrt.FormatType.UINT16 if wide else hrt.FormatType.UINT8)
    return Quantisation.of(native, np.uint16 if wide else np.uint8)


def _order(native: Any) -> str:
    order = native.format.order
    return str(getattr(order, "name", order)).rsplit(".", 1)[-1].upper()


class Session:
    """A HEF on the device. Not thread-safe: one thread submits and waits."""

    def __init__(self, hrt: Any, hef: Path, *, service: bool = False) -> None:
        """Open the device and configure `hef`. Raises ModelError (file, chip) or NpuError (device)."""
        self._hrt = hrt
        self._hef = hef
        self._service = service
        self._hold: Hold | None = None
        self._model: Any = None
        self._configured: Any = None
        self._frames: list[Frame] = []
        self._slots: WeakSet[Slot] = WeakSet()
        self.generation = 0
        self.header: HefHeader = read_header(hef)
        self.inputs: list[Stream] = []
        self.outputs: list[Stream] = []
        self.queue = 1
        self.reopen()

    @property
    def hold(self) -> Hold | None:
        """The open device, or None."""
        return self._hold

    def reopen(self) -> None:
        """Open the device, check the chip, configure. Raises ModelError or NpuError."""
        self.close(broken=self._hold is not None)
        self._hold = acquire(self._hrt, self._service)
        try:
            self._check_chip(self._hold.arch)
            self.configure()
        except BaseException:
            self.close()
            raise

    def _check_chip(self, device: str) -> None:
        if not device or self.header.arch in runs_on(device):
            if device and self.header.arch != device:
                log.warning("%s is for %s; a HEF for %s would be faster", self._hef, self.header.arch, device)
            return
        raise ModelError(
            f"{self._hef}: compiled for {self.header.arch}, but the device is a {device}; compile it with "
            f"`asr-batch models compile SRC DST --target {device}` and the vendor's compiler, then run "
            "`asr-batch models add-hef`"
        )

    def configure(self) -> None:
        """Configure the network, or configure it again. Raises NpuError."""
        self._drop_model()
        if self._hold is None or self._hold.broken:
            raise NpuError(Rung.DEVICE, "the NPU is not open")
        try:
            self._configured = self._configure(self._hold.vdevice)
            self.queue = max(1, int(self._configured.get_async_queue_size()))
        except NpuError:
            raise
        except Exception as exc:
            raise self._explain(exc, f"configuring {self._hef.name}", Rung.DEVICE) from exc
        self.generation += 1

    def _configure(self, vdevice: Any) -> Any:
        self._model = self._prepare(vdevice)
        if _multi_context(self._model):
            self._model.set_batch_size(BURST)
            try:
                return self._model.configure()
            except Exception as exc:
                if explain(exc, "").code != INVALID_OPERATION:
                    raise
                self._model = self._prepare(vdevice)  # the burst was too large: let HailoRT choose
        return self._model.configure()

    def _prepare(self, vdevice: Any) -> Any:
        model = vdevice.create_infer_model(str(self._hef))
        device = (self._hold.arch if self._hold is not None else "") or self.header.arch
        integers = device in INTEGERS_ONLY
        self.inputs = [Stream(self._hrt, one, integers) for one in model.inputs]
        self.outputs = [Stream(self._hrt, one, integers) for one in model.outputs]
        return model

    def slot(self, inputs: Mapping[str, Float32], outputs: Mapping[str, Float32]) -> Slot:
        """Buffers bound for one frame. Raises NpuError."""
        if self._configured is None:
            raise NpuError(Rung.MODEL, "the network is not configured")
        try:
            streams = {one.name: one.quantisation for one in (*self.inputs, *self.outputs)}
            quantised = {name: q for name, q in streams.items() if q is not None}
            slot = Slot(self._configured, inputs, outputs, quantised)
        except AssertionError:
            raise
        except Exception as exc:
            raise self._explain(exc, "binding buffers", Rung.MODEL) from exc
        self._slots.add(slot)
        return slot

    def submit(self, slot: Slot, seconds: float) -> Frame:
        """Start one frame; waits at most `seconds` for room in the queue. Raises NpuError."""
        if self._configured is None:
            raise NpuError(Rung.MODEL, "the network is not configured")
        frame = Frame(slot, self.generation)
        try:
            slot.send()
            self._configured.wait_for_async_ready(timeout_ms=int(seconds * 1000), frames_count=1)
            frame.job = self._configured.run_async([slot.bindings], callback=frame.returned)
        except Exception as exc:
            raise self._explain(exc, "handing a window to the NPU", Rung.MODEL) from exc
        self._frames = [*(one for one in self._frames if not one.done()), frame]
        return frame

    def _explain(self, exc: BaseException, doing: str, rung: Rung) -> NpuError:
        fault = explain(exc, doing, rung)
        version = str(getattr(self._hrt, "__version__", ""))
        if (
            fault.code == INVALID_OPERATION
            and version.startswith("4.")
            and int(np.__version__.split(".")[0]) >= 2
        ):
            return NpuError(fault.rung, str(fault) + SAME_IN_NUMPY_2.format(numpy=np.__version__), fault.code)
        return fault

    def sorted_outputs(self) -> Sequence[str]:
        """Names of the outputs, in the order of the model before compilation."""
        return [str(name) for name in self._model.hef.get_sorted_output_names()]

    def readings(self) -> dict[str, float]:
        """Temperature and clock of the device."""
        return self._hold.readings() if self._hold is not None else {}

    def _drop_model(self) -> None:
        """Drop the configured model, then the model; HailoRT waits up to 10 s for frames in flight."""
        configured, self._configured = self._configured, None
        if configured is not None:
            with contextlib.suppress(Exception):
                configured.shutdown()
            for frame in self._frames:
                frame.job = None
            for slot in self._slots:
                slot.bindings = None  # a job may still hold the slot; bindings must go before the model
            self._frames = []
            self._slots = WeakSet()
            with contextlib.suppress(Exception):
                configured.__exit__(None, None, None)
        del configured
        self._model = None

    def close(self, broken: bool = False) -> None:
        """Release model and device. `broken`: the device is gone for all its users in this process."""
        self._drop_model()
        hold, self._hold = self._hold, None
        if hold is not None:
            release(hold, broken)


def _multi_context(model: Any) -> bool:
    """Whether the network is loaded onto the chip in parts, so that bursts save reloading."""
    try:
        return any(bool(one.is_multi_context) for one in model.hef.get_network_groups_infos())
    except Exception:  # noqa: BLE001 - only a hint; native exceptions leak here
        return False
