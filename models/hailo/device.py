"""The one VDevice of this process: chosen, locked against other asr-batch processes, opened, monitored.

Two VDevices in one process collide just as two processes do, so all networks of a process share one `Hold`. A
file lock per device tells asr-batch processes apart from other programs that hold the device; the kernel
releases it when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

from asr_batch.models.hailo.faults import ABSENT, OUT_OF_DEVICES, NpuError, Rung, explain, status

log = logging.getLogger(__name__)
READ_EVERY = 2.0
BUSY = (OUT_OF_DEVICES, 73)
BUSY_WAITS = (0.5, 0.5, 1.0, 0.0)
"""Seconds between attempts to open a busy device: the process that holds it may be about to end."""

_holds: dict[int, Hold] = {}
_guard = threading.Lock()


class SiblingHoldsError(NpuError):
    """Another asr-batch process on this machine holds every device."""


class Hold:
    """An open VDevice, its lock and its sensors. `broken`: the device is gone and must not be used."""

    def __init__(self, hrt: Any, service: bool) -> None:
        self.hrt = hrt
        self.users = 0
        self.broken = False
        self.vdevice: Any = None
        self._lock: IO[str] | None = None
        self._device: Any = None
        self._read: tuple[float, dict[str, float]] = (-READ_EVERY, {})
        self.device_id = self._choose(service)
        try:
            self.arch = self._identify()
            self.vdevice = self._open(service)
        except BaseException:
            self.close()
            raise

    def _choose(self, service: bool) -> str:
        devices = scan(self.hrt)
        if not devices:
            raise NpuError(Rung.DEVICE, ABSENT, OUT_OF_DEVICES)
        if service:
            return devices[0]
        for wait in BUSY_WAITS:
            for device in devices:
                self._lock = lock_file(self.hrt, device)
                if self._lock is not None:
                    return device
            time.sleep(wait)
        raise SiblingHoldsError(
            Rung.DEVICE,
            f"{', '.join(devices)}: another asr-batch process holds the NPU; run one worker per device, or "
            "share it with `npu_service = true`",
        )

    def _identify(self) -> str:
        """The chip's name in lower case; empty if the device does not report it (configuring will)."""
        try:
            self._device = self.hrt.Device(self.device_id)
            arch = self._device.control.identify().device_architecture
        except Exception as exc:
            if status(exc) is None:
                log.warning("the NPU does not identify itself: %s", exc)
                return ""
            raise explain(exc, "identifying the NPU", Rung.DEVICE) from exc
        return str(getattr(arch, "name", arch)).lower()

    def _open(self, service: bool) -> Any:
        params = self.hrt.VDevice.create_params()
        params.scheduling_algorithm = self.hrt.HailoSchedulingAlgorithm.ROUND_ROBIN
        if service:
            params.multi_process_service = True
            params.group_id = "SHARED"
        elif len(scan(self.hrt)) > 1:
            params.device_ids = [self.device_id]
        for wait in BUSY_WAITS:
            try:
                return self.hrt.VDevice(params)
            except Exception as exc:  # noqa: BLE001 - native exceptions leak here with no common base
                fault = explain(exc, f"opening the NPU {self.device_id}", Rung.DEVICE)
                fault.__cause__ = exc
            if fault.code not in BUSY or not scan(self.hrt):
                break
            time.sleep(wait)
        raise self._absent_or_busy() if fault.code == OUT_OF_DEVICES else fault

    def _absent_or_busy(self) -> NpuError:
        """The error behind status 74, which means either; a scan, which opens nothing, tells which."""
        if not scan(self.hrt):
            return NpuError(Rung.DEVICE, ABSENT, OUT_OF_DEVICES)
        text = (
            f"the NPU {self.device_id} is in use by another process (rpicam, picamera2, Frigate or another "
            "program); stop it (`fuser /dev/hailo0` names it), or share the NPU with `npu_service = true` in "
            "every program"
        )
        return NpuError(Rung.DEVICE, text + " (status 74)", OUT_OF_DEVICES)

    def readings(self) -> dict[str, float]:
        """Temperature (°C) and core clock (MHz), as far as the device reports them, at most 2 s old."""
        found: dict[str, float] = {}
        if self._device is None or self.broken:
            return found
        if time.monotonic() - self._read[0] < READ_EVERY:
            return self._read[1]
        self._read = (time.monotonic(), found)
        with contextlib.suppress(Exception):
            chip = self._device.control.get_chip_temperature()
            found["temperature"] = max(float(chip.ts0_temperature), float(chip.ts1_temperature))
        with contextlib.suppress(Exception):
            more = self._device.control.get_extended_device_information()
            found["clock_mhz"] = float(more.neural_network_core_clock_rate) / 1e6
        return found

    def close(self) -> None:
        """Release everything in the order that HailoRT needs; errors are only logged."""
        for owner in (self._device, self.vdevice):
            if owner is not None:
                try:
                    owner.release()
                except Exception as exc:  # noqa: BLE001 - native exceptions leak here with no common base
                    log.warning("releasing the NPU failed: %s", exc)
        self._device = self.vdevice = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def scan(hrt: Any) -> list[str]:
    """Ids of this machine's Hailo devices; opens none, so it works while they are in use."""
    try:
        return [str(one) for one in hrt.Device.scan()]
    except Exception as exc:
        raise explain(exc, "looking for Hailo devices", Rung.DEVICE) from exc


def lock_file(hrt: Any, device: str) -> IO[str] | None:
    """Lock `device` for this process; None while another asr-batch process holds it."""
    place = hashlib.sha256(str(getattr(hrt, "__file__", "")).encode()).hexdigest()[:8]
    path = (
        Path(tempfile.gettempdir())
        / f"asr-batch-npu-{place}-{device.replace(':', '-').replace('/', '-')}.lock"
    )
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")
    except OSError as exc:
        log.warning("%s cannot be opened (%s); using the NPU without a lock", path, exc)
        return Path(os.devnull).open("r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def acquire(hrt: Any, service: bool) -> Hold:
    """The hold of this process, opened if necessary. Raises NpuError."""
    with _guard:
        hold = _holds.get(os.getpid())
        if hold is None or hold.broken:
            hold = _holds[os.getpid()] = Hold(hrt, service)
        hold.users += 1
        return hold


def release(hold: Hold, broken: bool = False) -> None:
    """Give a hold back; the last user closes it. `broken`: the device is gone, so it is not reused."""
    with _guard:
        hold.users -= 1
        hold.broken = hold.broken or broken
        if hold.users <= 0:
            hold.close()
            if _holds.get(os.getpid()) is hold:
                del _holds[os.getpid()]
