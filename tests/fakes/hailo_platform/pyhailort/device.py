"""`Device`, `Control` and `VDevice` of the double: presence, exclusive use, identification."""

from __future__ import annotations

import fcntl
import gc
import os
from enum import IntEnum
from types import SimpleNamespace
from typing import IO, Any

from hailo_platform import double
from hailo_platform.pyhailort import _pyhailort
from hailo_platform.pyhailort.errors import CLASSES, ExceptionWrapper
from hailo_platform.pyhailort.infer import InferModel


class DeviceArchitectureTypes(IntEnum):
    HAILO8_A0 = 0
    HAILO8 = 1
    HAILO8L = 2
    HAILO15H = 3
    HAILO15L = 4
    HAILO15M = 5
    HAILO10H = 6


class BoardInformation:
    def __init__(
        self,
        protocol_version: int,
        fw_version_major: int,
        fw_version_minor: int,
        fw_version_revision: int,
        logger_version: int,
        board_name: str,
        is_release: bool,
        extended_context_switch_buffer: bool,
        device_architecture: DeviceArchitectureTypes,
        serial_number: str,
        part_number: str,
        product_name: str,
    ) -> None:
        self.protocol_version = protocol_version
        self.firmware_version = SimpleNamespace(
            major=fw_version_major, minor=fw_version_minor, revision=fw_version_revision
        )
        self.board_name = board_name
        self.device_architecture = device_architecture
        self.serial_number = serial_number

    @staticmethod
    def get_hw_arch_str(device_arch: DeviceArchitectureTypes) -> str:
        return device_arch.name


def fail_open() -> None:
    """Raise what any opening of the device raises under the present settings."""
    now = double.settings()
    if now["driver_version"] not in (None, now["version"]):
        raise _pyhailort.fail("HAILO_INVALID_DRIVER_VERSION")
    if now["open_status"]:
        raise _pyhailort.HailoRTStatusException(str(now["open_status"]))


class Control:
    WORD_SIZE = 4

    def __init__(self, device: dict[str, Any]) -> None:
        self._device: dict[str, Any] | None = device

    @property
    def device_id(self) -> str:
        return self._alive()["id"]

    def _alive(self) -> dict[str, Any]:
        if self._device is None:
            raise RuntimeError("Access to released device")
        if double.lost():
            raise _pyhailort.fail("HAILO_DRIVER_OPERATION_FAILED")
        return self._device

    def power_measurement(self, dvm: Any = None, measurement_type: Any = None) -> float:
        with ExceptionWrapper():
            raise _pyhailort.fail("HAILO_UNSUPPORTED_OPCODE")

    def identify(self) -> BoardInformation:
        with ExceptionWrapper():
            one = self._alive()
        arch = DeviceArchitectureTypes[one["arch"]]
        return BoardInformation(
            2, *double.version(), 0, one["arch"].title(), True, False, arch, "<N/A>", "<N/A>", "<N/A>"
        )

    def core_identify(self) -> SimpleNamespace:
        major, minor, patch = double.version()
        return SimpleNamespace(firmware_version=SimpleNamespace(major=major, minor=minor, revision=patch))

    def get_throttling_state(self) -> bool:
        return double.temperature() > 104

    def get_chip_temperature(self) -> SimpleNamespace:
        with ExceptionWrapper():
            self._alive()
        degrees = double.temperature()
        return SimpleNamespace(ts0_temperature=degrees, ts1_temperature=degrees - 0.5, sample_count=8)

    def get_extended_device_information(self) -> SimpleNamespace:
        with ExceptionWrapper():
            one = self._alive()
        clock = one.get("clock", 400_000_000)
        return SimpleNamespace(
            neural_network_core_clock_rate=clock // 2 if double.temperature() > 104 else clock
        )

    def _get_health_information(self) -> SimpleNamespace:
        return SimpleNamespace()


class Device:
    def __init__(self, device_id: str | None = None) -> None:
        found = double.present()
        if not found:
            raise CLASSES["HailoRTException"]("HailoRT device not found in the system")
        fail_open()  # native exception leaks: no wrapper here
        chosen = [one for one in found if device_id in (None, one["id"])]
        if not chosen:
            raise _pyhailort.fail("HAILO_INVALID_ARGUMENT")
        self._control = Control(chosen[0])
        self._id = chosen[0]["id"]

    @classmethod
    def scan(cls) -> list[str]:
        return [one["id"] for one in double.present()]

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *args: Any) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        if hasattr(self, "_control"):
            self._control._device = None

    @property
    def device_id(self) -> str:
        return self._id

    @property
    def control(self) -> Control:
        return self._control

    @property
    def loaded_network_groups(self) -> list[Any]:
        return []

    if _pyhailort.known("4.20.0,4.21.0,4.22.0,4.23.0,5.0.0"):

        def read_log(self, count: int, cpu_id: Any) -> bytes:
            return b""


class VDeviceParams:
    def __init__(self) -> None:
        self.device_ids: list[str] = []
        self.device_count = 1
        self.group_id = "UNIQUE"
        self.multi_process_service = False
        old = double.version() < (5, 0, 0)
        self._scheduler = 0 if old else 1

    @property
    def scheduling_algorithm(self) -> int:
        return int(self._scheduler)

    @scheduling_algorithm.setter
    def scheduling_algorithm(self, value: Any) -> None:
        if not isinstance(value, _pyhailort.SchedulingAlgorithm):
            raise TypeError("incompatible function arguments: SchedulingAlgorithm expected")
        self._scheduler = int(value)


SHARED: dict[str, list[VDevice]] = {}


class VDevice:
    def __init__(self, params: VDeviceParams | None = None, *, device_ids: list[str] | None = None) -> None:
        gc.collect()
        self._locks: list[IO[str]] = []
        self._open = False
        self._pid = os.getpid()
        with ExceptionWrapper():
            if device_ids and params is not None and params.device_ids:
                raise _pyhailort.fail("HAILO_INVALID_OPERATION")
            if device_ids:
                params = VDeviceParams()  # the native side ignores what was given
                params.device_ids = list(device_ids)
            self._params = params or VDeviceParams()
            self._acquire()
        self._open = True

    def _acquire(self) -> None:
        params = self._params
        if params.multi_process_service:
            if params.scheduling_algorithm == 0:
                raise _pyhailort.fail("HAILO_INVALID_ARGUMENT")
            if not double.settings()["service"]:
                raise _pyhailort.fail("HAILO_RPC_FAILED")
        found = double.present()
        if not found:
            raise _pyhailort.fail("HAILO_OUT_OF_PHYSICAL_DEVICES")
        fail_open()
        self._family(found)
        if unknown := set(params.device_ids) - {one["id"] for one in found}:
            raise _pyhailort.fail("HAILO_INVALID_ARGUMENT") from KeyError(unknown)
        self._ids = self._take([one["id"] for one in found])
        if params.group_id != "UNIQUE":
            SHARED.setdefault(params.group_id, []).append(self)

    def _family(self, found: list[dict[str, Any]]) -> None:
        old = double.version() < (5, 0, 0)
        for one in found:
            if one["arch"].startswith("HAILO8") != old:
                raise _pyhailort.fail("HAILO_NOT_SUPPORTED")

    def _take(self, ids: list[str]) -> list[str]:
        params = self._params
        wanted = params.device_ids or ids
        if params.multi_process_service or SHARED.get(params.group_id):
            return wanted[: params.device_count]
        free = [one for one in wanted if self._lock(one)]
        if len(free) >= (len(params.device_ids) or 1):
            return free[: params.device_count]
        named = bool(params.device_ids)
        raise _pyhailort.fail("HAILO_DEVICE_IN_USE" if named else "HAILO_OUT_OF_PHYSICAL_DEVICES")

    def _lock(self, device: str) -> bool:
        if device in double.settings()["held"] or len(self._locks) >= self._params.device_count:
            return False
        file = (double.folder() / f"in-use-{device.replace(':', '-')}").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._locks.append(file)
        return True

    def __enter__(self) -> VDevice:
        return self

    def release(self) -> None:
        if getattr(self, "_open", False):
            self._open = False
            for file in self._locks:
                file.close()
            group = SHARED.get(self._params.group_id, [])
            if self in group:
                group.remove(self)

    def __exit__(self, *args: Any) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    @staticmethod
    def create_params() -> VDeviceParams:
        return VDeviceParams()

    def configure(self, hef: Any, configure_params_by_name: Any = {}) -> list[Any]:  # noqa: B006
        raise NotImplementedError("the double knows the InferModel API only")

    def get_physical_devices(self) -> list[Device]:
        return [Device(one) for one in self._ids]

    def get_physical_devices_ids(self) -> list[str]:
        return list(self._ids)

    def create_infer_model(self, hef_source: str | bytes, name: str = "") -> InferModel:
        if os.getpid() != self._pid:
            raise CLASSES["HailoRTException"]("VDevice was created in another process")
        if not isinstance(hef_source, str | bytes):
            raise TypeError("create_infer_model(): incompatible function arguments")
        with ExceptionWrapper():
            return InferModel((self, hef_source, name), hef_source)

    @property
    def loaded_network_groups(self) -> list[Any]:
        return []
