"""What a machine with a Hailo device has installed and running, read without HailoRT.

Part of `asr-batch doctor`: each mismatch that keeps a device from working is named with its remedy. PCI ids
and module names are those of the vendor's drivers (`hailo_pci` for Hailo-8 and 8L, `hailo1x` for Hailo-10H).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PCI = Path("/sys/bus/pci/devices")
MODULES = Path("/sys/module")
PROCESSES = Path("/proc")
RELEASE = Path("/etc/os-release")
VENDOR = "0x1e60"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `result` in a few words, and a `remedy` unless there is nothing to do."""

    name: str
    state: Literal["ok", "warning", "failed", "skipped"]
    result: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Chips that take the same software: HailoRT's major version, meta package and the other one."""

    chips: str
    major: str
    package: str
    other: str


EIGHT = Family("Hailo-8 or 8L", "4", "hailo-all", "hailo-h10-all")
TEN = Family("Hailo-10H", "5", "hailo-h10-all", "hailo-all")
FAMILIES = {"0x2864": EIGHT, "0x45c4": TEN}
"""By PCI device id."""

DRIVERS = ("hailo_pci", "hailo1x", "hailo1x_pci")
USERS = {
    "hailo-ollama": "`sudo systemctl stop hailo-ollama` (or end it); it keeps the device while it runs",
    "rpicam-": "end the camera program, or run it without Hailo post-processing",
    "frigate": "stop Frigate, or give asr-batch another device",
    "hailort_server": "stop hailort_server, which holds the device for its clients",
}
"""Programs that hold a device, by the beginning of their name, with what to do."""


def family() -> Family | None:
    """The family of the first Hailo device on the PCI bus, None without one that is known."""
    for device in sorted(PCI.glob("*")):
        if _text(device / "vendor").lower() == VENDOR:
            return FAMILIES.get(_text(device / "device").lower())
    return None


def installed() -> dict[str, str]:
    """Debian's Hailo packages that are installed, with their versions; empty elsewhere."""
    if shutil.which("dpkg-query") is None:
        return {}
    shown = "${db:Status-Status} ${Package} ${Version}\n"
    command = ["dpkg-query", "--show", f"--showformat={shown}", "*hailo*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = (line.split() for line in done.stdout.splitlines())
    return {words[1]: words[2] for words in lines if len(words) == 3 and words[0] == "installed"}


def checks(hailort: str | None) -> Iterator[Check]:
    """All of them; `hailort` is the version of the Python package, None where it cannot be imported."""
    chips, packages = family(), installed()
    if chips is not None:
        yield Check("PCIe device", "ok", chips.chips)
        yield from _system(chips)
    yield from _packages(chips, packages)
    yield from _runtime(chips, hailort)
    yield from _driver(chips, hailort)
    yield from _wheel()
    yield from _holders()


def _system(chips: Family) -> Iterator[Check]:
    release: dict[str, str] = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', _text(RELEASE), flags=re.M))
    name = release.get("VERSION_CODENAME", "")
    if name == "bookworm":
        remedy = "install Raspberry Pi OS Trixie: the vendor's current packages are for it only"
        state: Literal["warning", "failed"] = "failed" if chips is TEN else "warning"
        yield Check("system", state, release.get("PRETTY_NAME", name), remedy)
    elif name:
        yield Check("system", "ok", release.get("PRETTY_NAME", name))


def _packages(chips: Family | None, packages: dict[str, str]) -> Iterator[Check]:
    metas = [name for name in (EIGHT.package, TEN.package) if name in packages]
    if len(metas) == 2:
        keep = chips or EIGHT
        remedy = f"they exclude each other: `sudo apt purge {keep.other} && sudo apt install {keep.package}`"
        yield Check("packages", "failed", " and ".join(metas), f"{remedy}, then restart")
    elif metas and chips is not None and metas[0] != chips.package:
        change = f"`sudo apt purge {chips.other} && sudo apt install dkms {chips.package}`"
        yield Check("packages", "failed", f"{metas[0]} with a {chips.chips}", f"{change}, then restart")
    elif chips is not None and packages == {} and shutil.which("dpkg-query"):
        yield Check("packages", "failed", "none", f"`sudo apt install dkms {chips.package}`, then restart")
    elif metas:
        yield Check("packages", "ok", f"{metas[0]} {packages[metas[0]]}")
    parts = {name: _upstream(text) for name, text in packages.items() if _is_part(name)}
    if len(set(parts.values())) > 1:
        told = ", ".join(f"{name} {number}" for name, number in sorted(parts.items()))
        meta = (chips or EIGHT).package
        remedy = f"install one version of all: `sudo apt install --reinstall {meta}`, then restart"
        yield Check("package versions", "failed", told, remedy)


def _is_part(name: str) -> bool:
    """Whether a package carries HailoRT's version: library, Python bindings, driver."""
    return name.endswith(("hailort", "pcie-driver")) or name == "hailo-dkms"


def _upstream(version: str) -> str:
    """`4.23.0` of `1:4.23.0-1+rpt1`."""
    found = re.search(r"\d+\.\d+\.\d+", version)
    return found[0] if found else version


def _runtime(chips: Family | None, hailort: str | None) -> Iterator[Check]:
    if chips is None or hailort is None:
        return
    if hailort.split(".")[0] == chips.major:
        yield Check("HailoRT", "ok", f"{hailort} for a {chips.chips}")
        return
    remedy = f"a {chips.chips} needs HailoRT {chips.major}.x: `sudo apt purge {chips.other}`, then "
    remedy += f"`sudo apt install dkms {chips.package}` and restart"
    yield Check("HailoRT", "failed", f"{hailort} with a {chips.chips}", remedy)


def _driver(chips: Family | None, hailort: str | None) -> Iterator[Check]:
    loaded = [(name, _text(MODULES / name / "version")) for name in DRIVERS if (MODULES / name).is_dir()]
    if not loaded:
        if chips is not None:
            remedy = f"`sudo apt install dkms {chips.package}` and restart; see `dmesg | grep -i hailo`"
            yield Check("driver", "failed", "not loaded", remedy)
        return
    name, version = loaded[0]
    if version and hailort is not None and version != hailort:
        remedy = "restart, so that the installed driver is loaded; if that does not help, "
        remedy += f"`sudo apt install --reinstall {(chips or EIGHT).package}`"
        yield Check("driver", "failed", f"{name} {version}, but HailoRT is {hailort}", remedy)
        return
    yield Check("driver", "ok", f"{name} {version}".strip())


def _wheel() -> Iterator[Check]:
    """The Pythons for which the installed bindings were built, read from the name of their module."""
    try:
        found = importlib.util.find_spec("hailo_platform")
    except (ImportError, ValueError):
        return
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    names = [file.name for folder in folders for file in folder.glob("pyhailort/_pyhailort*.so")]
    tags = sorted({tag[1] for name in names if (tag := re.search(r"cpython-(3\d+)", name))})
    mine = f"3{sys.version_info[1]}"
    if not tags:
        return
    if mine in tags:
        yield Check("wheel", "ok", f"for Python 3.{sys.version_info[1]}")
        return
    built = ", ".join(f"3.{tag[1:]}" for tag in tags)
    remedy = (
        "make the environment with the system's Python: `/usr/bin/python3 -m venv --system-site-packages`, "
    )
    remedy += f"or install the vendor's wheel cp{mine}"
    yield Check("wheel", "failed", f"for Python {built}, but this is 3.{sys.version_info[1]}", remedy)


def _holders() -> Iterator[Check]:
    running = holders()
    for name, remedy in running.items():
        yield Check("other programs", "warning", f"{name} is running", remedy)


def holders() -> dict[str, str]:
    """Programs that are running and hold a device, with what to do about each."""
    names = {_text(process / "comm") for process in PROCESSES.glob("[0-9]*")}
    return {
        name: remedy
        for begin, remedy in USERS.items()
        for name in sorted(names)
        if name.startswith(begin[:15])  # the kernel keeps 15 letters
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
