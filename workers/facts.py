"""Facts about a node: gathered on the node, judged by the driver before any work."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from asr_batch.models import memory
from asr_batch.models.hailo.api import devices
from asr_batch.workers import sizing
from asr_batch.workers.model_folders import cache_folder

LEAST_MEMORY = 256 << 20
SKEW = 5.0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Versions, hardware and state of one machine; sizes in bytes, `clock` in seconds since the epoch.

    `npu` lists the NPU devices, `npu_note` says why there are none, `temperature` is that of the hottest
    sensor in degrees Celsius.
    """

    host: str
    arch: str
    python: str
    ray: str
    asr_batch: str
    onnxruntime: str
    numpy: str
    hailort: str
    npu: tuple[str, ...]
    npu_note: str
    cores: int
    memory_total: int
    memory_free: int
    disk_free: int
    page_size: int
    clock: float
    temperature: float | None = None


def gather() -> NodeFacts:
    """The facts of this machine."""
    return NodeFacts(
        socket.gethostname(),
        platform.machine(),
        platform.python_version(),
        _version("ray"),
        _version("asr-batch"),
        _version("onnxruntime"),
        _version("numpy"),
        _version("hailort"),
        *devices(),
        sizing.cores(),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        memory.free_memory(),
        disk_free(cache_folder()),
        os.sysconf("SC_PAGE_SIZE"),
        time.time(),
        temperature(),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def disk_free(folder: Path) -> int:
    """Free bytes on the file system of `folder`, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def temperature() -> float | None:
    """Degrees Celsius of the hottest thermal zone; None if there is none."""
    found = []
    for zone in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def misfit(theirs: NodeFacts, mine: NodeFacts, model_bytes: int, encoder: str) -> str | None:
    """Why a node cannot be used, or None."""
    if theirs.asr_batch != mine.asr_batch:
        return f"asr-batch {theirs.asr_batch or 'unknown'}, the driver has {mine.asr_batch}"
    if theirs.python.split(".")[:2] != mine.python.split(".")[:2]:
        return f"Python {theirs.python}, the driver has {mine.python}"
    if encoder == "hailo" and not theirs.npu:
        return f"no NPU for --encoder hailo: {theirs.npu_note}"
    need = LEAST_MEMORY + 2 * model_bytes
    if theirs.memory_free < need:
        return f"{theirs.memory_free >> 20} MiB of memory free, {need >> 20} MiB needed"
    return None


def remarks(theirs: NodeFacts, mine: NodeFacts, skew: float) -> str:
    """Oddities of a node that do not prevent its use."""
    odd = []
    if abs(skew) > SKEW:
        odd.append(f"its clock is {skew:+.0f} s off")
    if theirs.onnxruntime != mine.onnxruntime:
        odd.append(f"ONNX Runtime {theirs.onnxruntime}, the driver has {mine.onnxruntime}")
    if theirs.disk_free < 1 << 30:
        odd.append(f"only {theirs.disk_free >> 20} MiB of disk free")
    return "; ".join(odd)
