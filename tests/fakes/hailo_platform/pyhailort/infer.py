"""`InferModel` of the double: the asynchronous API with the traps that the contract names."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import numpy as np

from hailo_platform import chip, double
from hailo_platform.pyhailort import _pyhailort
from hailo_platform.pyhailort.errors import CLASSES, ExceptionWrapper, from_status
from hailo_platform.pyhailort.hef import HEF, load, quant, stream_format

ACCEPTS = {"HAILO8": {1, 2, 3}, "HAILO8L": {3}, "HAILO10H": {5}, "HAILO15H": {103}, "HAILO15M": {4}}
BYTES = {"UINT8": 1, "UINT16": 2, "FLOAT32": 4}
SILICON = threading.Lock()


class AsyncInferCompletionInfo:
    def __init__(self, exception: Exception | None) -> None:
        self._exception = exception

    @property
    def exception(self) -> Exception | None:
        return self._exception


class InferModel:
    class InferStream:
        def __init__(self, infer_stream: dict[str, Any]) -> None:
            self._stream = infer_stream
            self._type: Any = None

        @property
        def name(self) -> str:
            return self._stream["name"]

        @property
        def shape(self) -> list[int]:
            return list(self._stream["shape"])

        @property
        def format(self) -> Any:
            found = stream_format(self._stream)
            found.type = found.type if self._type is None else self._type
            return found

        def set_format_type(self, type: Any) -> None:  # noqa: A002 - the original's name
            self._type = type

        def set_format_order(self, order: Any) -> None:
            self._stream = {**self._stream, "order": order.name}

        @property
        def quant_infos(self) -> list[Any]:
            return [quant(self._stream)]

        @property
        def is_nms(self) -> bool:
            return False

        def set_nms_score_threshold(self, threshold: float) -> None:
            raise CLASSES["HailoRTInvalidOperationException"]("not an NMS stream")

        def set_nms_iou_threshold(self, threshold: float) -> None:
            raise CLASSES["HailoRTInvalidOperationException"]("not an NMS stream")

        def set_nms_max_proposals_per_class(self, max_proposals: int) -> None:
            raise CLASSES["HailoRTInvalidOperationException"]("not an NMS stream")

        def set_nms_max_accumulated_mask_size(self, max_accumulated_mask_size: int) -> None:
            raise CLASSES["HailoRTInvalidOperationException"]("not an NMS stream")

        def _bytes(self) -> int:
            return int(np.prod(self._stream["shape"])) * BYTES[self.format.type.name]

    def __init__(self, infer_model: Any, hef_path: Any) -> None:
        self._vdevice, source, name = infer_model
        self._parsed = load(source)
        if name not in ("", self._parsed.group):
            raise _pyhailort.fail("HAILO_NOT_FOUND")
        self._source = source
        self._inputs = [self.InferStream(stream) for stream in self._parsed.inputs]
        self._outputs = [self.InferStream(stream) for stream in self._parsed.outputs]
        self._batch = 0

    @property
    def hef(self) -> HEF:
        return HEF(self._source)

    def set_batch_size(self, batch_size: int) -> None:
        if not 0 <= batch_size < 1 << 16:
            raise TypeError("set_batch_size(): incompatible function arguments")
        self._batch = batch_size

    def set_power_mode(self, power_mode: Any) -> None:
        pass

    def configure(self) -> ConfiguredInferModel:
        with ExceptionWrapper():
            if double.lost():
                raise _pyhailort.fail("HAILO_DRIVER_OPERATION_FAILED")
            device = next(one for one in double.present() if one["id"] in self._vdevice._ids)
            if self._parsed.arch not in ACCEPTS.get(device["arch"], set()):
                old = double.version() < (4, 21, 0)
                raise _pyhailort.fail("HAILO_INVALID_HEF" if old else "HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE")
            types = {stream.format.type.name for stream in (*self._inputs, *self._outputs)}
            if device["arch"] == "HAILO10H" and "FLOAT32" in types:
                raise _pyhailort.fail("HAILO_NOT_IMPLEMENTED")  # integer buffers only, as users report
            if status := double.settings()["configure_status"]:
                raise _pyhailort.HailoRTStatusException(str(status))
            if self._batch > 64:
                raise _pyhailort.fail("HAILO_INVALID_OPERATION")
        return ConfiguredInferModel(Runtime(self), self)

    @property
    def input_names(self) -> list[str]:
        return [stream.name for stream in self._inputs]

    @property
    def output_names(self) -> list[str]:
        return [stream.name for stream in self._outputs]

    @property
    def inputs(self) -> list[InferStream]:
        return list(self._inputs)

    @property
    def outputs(self) -> list[InferStream]:
        return list(self._outputs)

    def input(self, name: str = "") -> InferStream:
        with ExceptionWrapper():
            return pick(self._inputs, name)

    def output(self, name: str = "") -> InferStream:
        with ExceptionWrapper():
            return pick(self._outputs, name)


def pick(streams: list[Any], name: str) -> Any:
    if not name:
        if len(streams) != 1:
            raise _pyhailort.fail("HAILO_INVALID_OPERATION")
        return streams[0]
    found = [stream for stream in streams if stream.name == name]
    if not found:
        raise _pyhailort.fail("HAILO_NOT_FOUND")
    return found[0]


class Runtime:
    """The native side of a configured model: a queue, one worker thread, one callback at a time."""

    def __init__(self, model: InferModel) -> None:
        self.model = model
        self.vdevice = model._vdevice
        self.chip = chip.Chip(model._parsed)
        self.size = int(double.settings()["queue"])
        self.dead: str | None = None
        self.activated = self.vdevice._params.scheduling_algorithm == 1
        self.inflight: list[Any] = []
        self.space = threading.Condition()
        self.work: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._loop, daemon=True).start()

    def kill(self, status: str) -> None:
        with self.space:
            self.dead = self.dead or status
            self.space.notify_all()

    def _loop(self) -> None:
        while (one := self.work.get()) is not None:
            try:
                error = self._execute(one)
            except Exception as exc:  # noqa: BLE001 - the double itself is broken: say so loudly
                error = CLASSES["HailoRTException"](f"double: {exc!r}")
            if error is not HANG:
                self._finish(one, error)

    def _finish(self, one: Any, error: Any) -> None:
        frame, _, callback, done = one
        if callback is not None:
            callback(completion_info=AsyncInferCompletionInfo(error))
        done.set()
        with self.space:
            self.inflight.remove(frame)
            self.space.notify_all()

    def _execute(self, one: Any) -> Any:
        number, bindings, _, _ = one
        faults = double.faults(number)
        kinds = {fault["kind"] for fault in faults}
        if self.dead:
            return from_status(_pyhailort.STATUS["HAILO_STREAM_ABORT"])
        if not self.activated:
            return from_status(_pyhailort.STATUS["HAILO_STREAM_NOT_ACTIVATED"])
        if error := self._faulty(faults, kinds):
            return error
        with SILICON:
            time.sleep(
                double.settings()["ms"] / 1000
                + sum(f.get("seconds", 1.0) for f in faults if f["kind"] == "slow")
            )
            outputs = self.chip.run(bindings.read(), faults, number)
        bindings.write(outputs)
        return None

    def _faulty(self, faults: list[dict[str, Any]], kinds: set[str]) -> Any:
        if "timeout" in kinds:
            return HANG
        if "job" in kinds:
            return from_status(_pyhailort.STATUS["HAILO_INTERNAL_FAILURE"])
        if "overheat" in kinds:
            double.heat(121.0)
        if "lost" in kinds:
            double.lose(next(f.get("seconds", 1.0) for f in faults if f["kind"] == "lost"))
        if kinds & {"abort", "overheat", "lost"} or double.lost():
            self.kill("HAILO_STREAM_ABORT")
            return from_status(_pyhailort.STATUS["HAILO_STREAM_ABORT"])
        return None


HANG = object()


class ConfiguredInferModel:
    class NmsTransformationInfo:
        pass

    class NmsHailoTransformationInfo(NmsTransformationInfo):
        pass

    class NmsTfTransformationInfo(NmsTransformationInfo):
        pass

    class Bindings:
        class InferStream:
            def __init__(self, infer_stream: Any, nms_info: Any = None) -> None:
                self._stream = infer_stream
                self._buffer: Any = None

            def set_buffer(self, buffer: Any) -> None:
                if not buffer.flags.c_contiguous:
                    raise CLASSES["HailoRTException"]("Buffer must be C_CONTIGUOUS")
                if not buffer.flags.writeable:
                    raise ValueError("array is not writeable")
                self._buffer = buffer

            def get_buffer(self, tf_format: bool = False) -> Any:
                return self._buffer

        def __init__(self, bindings: Any, input_names: Any, output_names: Any, nms_infos: Any) -> None:
            self._model = bindings
            self._inputs = {s.name: self.InferStream(s) for s in bindings._inputs}
            self._outputs = {s.name: self.InferStream(s) for s in bindings._outputs}

        def input(self, name: str = "") -> InferStream:
            with ExceptionWrapper():
                return self._inputs[pick(self._model._inputs, name).name]

        def output(self, name: str = "") -> InferStream:
            with ExceptionWrapper():
                return self._outputs[pick(self._model._outputs, name).name]

        def get(self) -> Any:
            return self

        def _check(self) -> None:
            """What the native side checks: presence and number of bytes, never shape or dtype."""
            for streams, missing in ((self._inputs, "HAILO_NOT_FOUND"), (self._outputs, None)):
                for one in streams.values():
                    if one._buffer is None and missing:
                        raise _pyhailort.fail(missing)
                    if one._buffer is not None and one._buffer.nbytes != one._stream._bytes():
                        raise _pyhailort.fail("HAILO_INVALID_OPERATION")
            if double.settings()["numpy2_misread"] and np.__version__ >= "2":
                raise _pyhailort.fail("HAILO_INVALID_OPERATION")

        def read(self) -> dict[str, np.ndarray]:
            return {name: self._real(one) for name, one in self._inputs.items()}

        @staticmethod
        def _real(one: Any) -> np.ndarray:
            kind = one._stream.format.type.name
            if kind == "FLOAT32":
                return one._buffer.reshape(-1).view(np.float32).copy()
            info = one._stream.quant_infos[0]
            stored = one._buffer.reshape(-1).view(np.dtype(kind.lower())).astype(np.float32)
            return (stored - np.float32(info.qp_zp)) * np.float32(info.qp_scale)

        def write(self, values: dict[str, np.ndarray]) -> None:
            for name, one in self._outputs.items():
                kind, value = one._stream.format.type.name, values[name]
                if kind != "FLOAT32":
                    info, dtype = one._stream.quant_infos[0], np.dtype(kind.lower())
                    value = np.rint(np.nan_to_num(value) / info.qp_scale + info.qp_zp)
                    value = np.clip(value, 0, np.iinfo(dtype).max).astype(dtype)
                one._buffer.reshape(-1).view(np.uint8)[:] = value.view(np.uint8)

    def __init__(self, configured_infer_model: Any, infer_model: Any) -> None:
        self._configured_infer_model: Any = configured_infer_model
        self._infer_model = infer_model

    def __enter__(self) -> ConfiguredInferModel:
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if self._configured_infer_model is not None:
            self._end(self._configured_infer_model)
        self._configured_infer_model = None

    def _end(self, native: Runtime) -> None:
        native.kill("HAILO_STREAM_ABORT")
        native.work.put(None)

    def __del__(self) -> None:
        self.__exit__(None, None, None)

    def activate(self) -> None:
        with ExceptionWrapper():
            self._unscheduled()
        self._configured_infer_model.activated = True

    def deactivate(self) -> None:
        with ExceptionWrapper():
            self._unscheduled()
        self._configured_infer_model.activated = False

    def _unscheduled(self) -> None:
        if self._configured_infer_model.vdevice._params.scheduling_algorithm == 1:
            raise _pyhailort.fail("HAILO_INVALID_OPERATION")

    def create_bindings(self, input_buffers: Any = None, output_buffers: Any = None) -> Bindings:
        self._configured_infer_model.size  # noqa: B018 - AttributeError after __exit__, as the original
        model = self._infer_model
        bindings = self.Bindings(model, model.input_names, model.output_names, {})
        for name, array in (input_buffers or {}).items():
            bindings.input(name).set_buffer(array)
        for name, array in (output_buffers or {}).items():
            bindings.output(name).set_buffer(array)
        return bindings

    def wait_for_async_ready(self, timeout_ms: float = 1000, frames_count: int = 1) -> None:
        native = self._configured_infer_model

        def ready() -> bool:
            return native.dead is not None or len(native.inflight) + frames_count <= native.size

        with ExceptionWrapper(), native.space:
            if not native.space.wait_for(ready, timeout_ms / 1000):
                raise _pyhailort.fail("HAILO_TIMEOUT")
            if native.dead:
                raise _pyhailort.fail(native.dead)

    def run(self, bindings: list[Bindings], timeout: float) -> None:
        self.run_async(bindings).wait(timeout)

    def run_async(self, bindings: list[Bindings], callback: Any = None) -> AsyncInferJob:
        native = self._configured_infer_model
        with ExceptionWrapper():
            if not native.vdevice._open:
                raise RuntimeError("double: used after VDevice.release(), a bus error on the original")
            if native.dead:
                raise _pyhailort.fail(native.dead)
            if any(one._buffer is None for b in bindings for one in b._outputs.values()):
                raise _pyhailort.fail("HAILO_INVALID_OPERATION")  # the one error that does not kill
            try:
                return self._submit(native, bindings, callback)
            except _pyhailort.HailoRTStatusException:
                native.kill("HAILO_STREAM_ABORT")
                raise

    def _submit(self, native: Runtime, bindings: list[Bindings], callback: Any) -> AsyncInferJob:
        for one in bindings:
            one._check()
        done = threading.Event()
        with native.space:
            if len(native.inflight) + len(bindings) > native.size:
                raise _pyhailort.fail("HAILO_QUEUE_IS_FULL")
            for one in bindings:
                number = double.next_frame()
                if any(fault["kind"] == "wrong_size" for fault in double.faults(number)):
                    raise _pyhailort.fail("HAILO_INVALID_OPERATION")
                native.inflight.append(number)
                native.work.put((number, one, callback, done))
        return AsyncInferJob(done)

    def set_scheduler_timeout(self, timeout_ms: float) -> None:
        self._scheduled()

    def set_scheduler_threshold(self, threshold: int) -> None:
        self._scheduled()

    def set_scheduler_priority(self, priority: int) -> None:
        self._scheduled()

    def _scheduled(self) -> None:
        with ExceptionWrapper():
            if self._configured_infer_model.vdevice._params.scheduling_algorithm == 0:
                raise _pyhailort.fail("HAILO_INVALID_OPERATION")

    def get_async_queue_size(self) -> int:
        return self._configured_infer_model.size

    def shutdown(self) -> None:
        self._configured_infer_model.kill("HAILO_STREAM_ABORT")


class AsyncInferJob:
    MILLISECOND = 1 / 1000

    def __init__(self, job: threading.Event) -> None:
        self._job = job

    def wait(self, timeout_ms: float) -> None:
        with ExceptionWrapper():
            if not self._job.wait(timeout_ms / 1000):
                raise _pyhailort.fail("HAILO_TIMEOUT")
