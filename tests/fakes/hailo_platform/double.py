"""Settings, state and faults of the test double. Not part of the imitated package.

The folder named by the environment variable HAILO_FAKE holds `settings.json` (read again whenever it
changes, so a test can change a running worker) and the state that several processes share: which frame the
device is at, whether it is gone. Without HAILO_FAKE the defaults hold and the state is one temporary folder
per process.

`faults` is a list of {"kind", "frame", "count"}: frames are counted from 0 over all processes; a fault holds
for frames [frame, frame + count). Kinds: `job` (this frame fails, the model lives), `abort` (model dies),
`overheat` (all in flight abort, the model dies, 121 degrees), `timeout` (never called back), `slow`
(`seconds` late), `wrong_size` (run_async refuses the buffers), `lost` (device gone for `seconds`),
`garbage` (success, random numbers), `drift` (the signal-to-noise ratio falls by `db` each frame),
`constant` (success, one number everywhere), `nan`.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

DEFAULTS: dict[str, Any] = {
    "version": "4.23.0",
    "devices": [{"id": "0000:01:00.0", "arch": "HAILO8", "clock": 400_000_000}],
    "held": [],
    "import_error": None,
    "driver_version": None,
    "open_status": None,
    "configure_status": None,
    "service": False,
    "numpy2_misread": False,
    "snr_db": 30.0,
    "ms": 2.0,
    "queue": 4,
    "temperature": 52.0,
    "faults": [],
}

_fallback: str | None = None
_cache: tuple[str, float, dict[str, Any]] | None = None


def folder() -> Path:
    global _fallback
    if named := os.environ.get("HAILO_FAKE"):
        return Path(named)
    if _fallback is None:
        _fallback = tempfile.mkdtemp(prefix="hailo-fake-")
    return Path(_fallback)


def settings() -> dict[str, Any]:
    global _cache
    path = folder() / "settings.json"
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError:
        return dict(DEFAULTS)
    if _cache is None or _cache[:2] != (str(path), stamp):
        _cache = (str(path), stamp, {**DEFAULTS, **json.loads(path.read_text())})
    return _cache[2]


def version() -> tuple[int, int, int]:
    major, minor, patch = (int(part) for part in settings()["version"].split("."))
    return major, minor, patch


def next_frame() -> int:
    """The number of the frame that the device is given now, counted over all processes."""
    with (folder() / "frames").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = int(file.read() or 0)
        file.seek(0)
        file.truncate()
        file.write(str(number + 1))
    return number


def faults(frame: int) -> list[dict[str, Any]]:
    return [f for f in settings()["faults"] if f["frame"] <= frame < f["frame"] + f.get("count", 1)]


def lose(seconds: float) -> None:
    (folder() / "lost").write_text(str(time.time() + seconds))


def lost() -> bool:
    try:
        return time.time() < float((folder() / "lost").read_text() or 0)
    except FileNotFoundError:
        return False


def heat(degrees: float) -> None:
    (folder() / "heat").write_text(f"{degrees} {time.time() + 1.0}")


def temperature() -> float:
    try:
        degrees, until = (float(part) for part in (folder() / "heat").read_text().split())
    except (FileNotFoundError, ValueError):
        return float(settings()["temperature"])
    return degrees if time.time() < until else float(settings()["temperature"])


def present() -> list[dict[str, Any]]:
    return [] if lost() else list(settings()["devices"])
