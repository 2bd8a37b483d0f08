"""The NPU checks of `asr-batch doctor`, each after those it depends on."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.hailo.api import is_double, vendor
from asr_batch.models.hailo.bundle import choose_hef
from asr_batch.models.hailo.device import acquire, release, scan
from asr_batch.models.hailo.faults import ABSENT, NpuError, explain
from asr_batch.models.hailo.hef import read_header
from asr_batch.models.hailo.machine import Check, checks, family, holders

HOT, THROTTLED = 85.0, 104.0
"""Degrees Celsius: above the first, cooling is poor; above the second, the chip halves its clock."""


def diagnose(bundle: Path | None = None) -> list[Check]:
    """Check package, driver, device, chip, temperature and, with `bundle`, the HEF; never raises.

    Opens the device for a moment, so a device that another program uses is reported as busy.
    """
    seen = [_device_node(), _link()]
    try:
        hrt = vendor()
    except ModelError as error:
        absent = seen[0].state == "skipped" and family() is None
        if absent and importlib.util.find_spec("hailo_platform") is None:
            return [Check("NPU", "skipped", "no Hailo device and no HailoRT on this machine")]
        failed = Check("hailo_platform", "failed", "cannot be imported", str(error))
        return [*seen, *checks(None), failed]
    seen += [_package(hrt), _numpy(hrt), *checks(str(getattr(hrt, "__version__", "")) or None)]
    try:
        found = scan(hrt)
    except NpuError as error:
        return [*seen, Check("scan", "failed", "the scan failed", str(error))]
    if not found:
        return [*seen, Check("scan", "failed", "no device", ABSENT)]
    seen.append(Check("scan", "ok", ", ".join(found)))
    return [*seen, *_identity(hrt, found[0]), *_opening(hrt, bundle)]


def _device_node() -> Check:
    nodes = sorted([*Path("/dev").glob("hailo[0-9]*"), *Path("/dev").glob("h1x-*")])
    if nodes:
        return Check("device node", "ok", ", ".join(str(node) for node in nodes))
    return Check("device node", "skipped", "no /dev/hailo0 or /dev/h1x-0 (a container needs --device)")


def _link() -> Check:
    """PCIe speed of the device: on an AI Kit, Gen 3 has to be enabled."""
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            if (device / "vendor").read_text().strip() != "0x1e60":
                continue
            speed = (device / "current_link_speed").read_text().strip()
        except OSError:
            continue
        if speed.startswith("8"):
            return Check("PCIe link", "ok", speed)
        remedy = (
            "AI Kit: set dtparam=pciex1_gen=3 in /boot/firmware/config.txt and restart (HATs need no setting)"
        )
        return Check("PCIe link", "warning", speed, remedy)
    return Check("PCIe link", "skipped", "no Hailo PCIe device found")


def _package(hrt: Any) -> Check:
    version = str(getattr(hrt, "__version__", "unknown"))
    if is_double(hrt):
        return Check("hailo_platform", "warning", f"{version}, a TEST DOUBLE", "not the vendor's package")
    return Check("hailo_platform", "ok", version)


def _numpy(hrt: Any) -> Check:
    old = str(getattr(hrt, "__version__", "")).startswith("4.")
    if old and int(np.__version__.split(".")[0]) >= 2:
        remedy = "if windows fail with a wrong buffer size, run `pip install 'numpy<2' 'pyarrow<26'` here"
        return Check("numpy", "warning", f"{np.__version__} with HailoRT 4.x bindings", remedy)
    return Check("numpy", "ok", np.__version__)


def _identity(hrt: Any, device_id: str) -> Iterator[Check]:
    """Chip, firmware, temperature and clock; works while another process uses the device."""
    try:
        device = hrt.Device(device_id)
        board = device.control.identify()
    except Exception as exc:  # noqa: BLE001 - native exceptions leak here with no common base
        yield Check(
            "identify", "failed", "the device does not answer", str(explain(exc, "identifying the NPU"))
        )
        return
    arch = board.device_architecture
    yield Check("chip", "ok", str(getattr(arch, "name", arch)))
    yield _firmware(hrt, board)
    yield from _heat(device)
    device.release()


def _firmware(hrt: Any, board: Any) -> Check:
    told = board.firmware_version
    parts = [str(getattr(told, name)) for name in ("major", "minor", "revision") if hasattr(told, name)]
    text = ".".join(parts) or str(told)
    mine = str(getattr(hrt, "__version__", ""))
    if text.split(".")[:2] != mine.split(".")[:2]:
        return Check(
            "firmware", "failed", f"{text}, but HailoRT is {mine}", "install one version of both and restart"
        )
    return Check("firmware", "ok", text)


def _heat(device: Any) -> Iterator[Check]:
    try:
        chip = device.control.get_chip_temperature()
        degrees = max(float(chip.ts0_temperature), float(chip.ts1_temperature))
    except Exception as exc:  # noqa: BLE001 - not every board reports it
        yield Check("temperature", "skipped", f"not reported ({type(exc).__name__})")
    else:
        state: Literal["ok", "warning"] = "ok" if degrees < HOT else "warning"
        remedy = (
            ""
            if degrees < HOT
            else f"improve cooling: the chip halves its clock at {THROTTLED:.0f} °C and stops at 120 °C"
        )
        yield Check("temperature", state, f"{degrees:.0f} °C", remedy)
    try:
        rate = float(device.control.get_extended_device_information().neural_network_core_clock_rate) / 1e6
    except Exception as exc:  # noqa: BLE001 - not every board reports it
        yield Check("clock", "skipped", f"not reported ({type(exc).__name__})")
    else:
        yield Check("clock", "ok", f"{rate:.0f} MHz")


def _opening(hrt: Any, bundle: Path | None) -> Iterator[Check]:
    try:
        hold = acquire(hrt, False)
    except NpuError as error:
        others = "; ".join(f"{name} is running: {remedy}" for name, remedy in holders().items())
        remedy = f"{error}; {others}" if others else str(error)
        yield Check("open", "failed", "the device cannot be opened", remedy)
        return
    yield Check("open", "ok", "free")
    try:
        if bundle is not None:
            yield _hef(choose_hef(bundle, hold.arch), hold.arch)
    except ModelError as error:
        yield Check("HEF", "failed", "no HEF for this chip", str(error))
    finally:
        release(hold)


def _hef(path: Path, arch: str) -> Check:
    """The HEF that this chip gets."""
    header = read_header(path)
    told = f"{path}: for {header.arch}" + (f", by DFC {header.compiler}" if header.compiler else "")
    if arch and header.arch != arch:
        return Check("HEF", "warning", told, f"it runs on a {arch}, slower than one compiled for it")
    return Check("HEF", "ok", told)


def tools() -> list[Check]:
    """Further checks for a machine with an NPU: hailortcli, the environment; never raises."""
    checks = [_command_line()] if shutil.which("hailortcli") else []
    if sys.prefix != sys.base_prefix:
        file = Path(sys.prefix, "pyvenv.cfg")
        seen = file.is_file() and "include-system-site-packages = true" in file.read_text()
        remedy = "recreate it with `/usr/bin/python3 -m venv --system-site-packages` to see HailoRT"
        checks.append(Check("environment", "ok" if seen else "warning", sys.prefix, "" if seen else remedy))
    return checks


def _command_line() -> Check:
    name = "hailortcli scan"
    try:
        done = subprocess.run(name.split(), capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, "failed", str(error))
    line = re.sub(r"\s+", " ", done.stdout or done.stderr).strip()
    return Check(name, "ok" if done.returncode == 0 else "failed", line[:200])
