"""Access to the Hailo NPU: the only module that imports the vendor's package, and only on demand.

:func:`open_encoder` gives Whisper recognizers an NPU encoder with the interface of `models/encoder.py`.
docs/hailo.md describes how to set up a machine.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Encoder, Float32
from asr_batch.models.hailo.bundle import FOLDER, PROBE, choose_hef, hef_entries
from asr_batch.models.hailo.decoder import NpuDecoder
from asr_batch.models.hailo.device import SiblingHoldsError, acquire, release, scan
from asr_batch.models.hailo.encoder import HailoEncoder
from asr_batch.models.hailo.faults import ABSENT, NpuError
from asr_batch.models.hailo.frames import Patience
from asr_batch.models.hailo.layout import Layout
from asr_batch.models.hailo.recovery.probe import Probe, load_probe, make_probe
from asr_batch.models.hailo.recovery.standby import Standby
from asr_batch.models.hailo.session import Session
from asr_batch.models.recognizer import LoadOptions

log = logging.getLogger(__name__)
DISTRO_PACKAGES = "/usr/lib/python3/dist-packages"
"""Where Debian installs python3-hailort, for the system's own Python only."""


def vendor() -> Any:
    """Import the package `hailo_platform`.

    Raises ModelError with what to install if it cannot be imported.
    """
    _keep_logs_together()
    try:
        import hailo_platform  # the vendor's package, where there is a device
    except ModuleNotFoundError as exc:
        raise ModelError(_missing(exc)) from exc
    except Exception as exc:
        raise ModelError(_unusable(exc)) from exc
    module: ModuleType = hailo_platform
    return module


def _keep_logs_together() -> None:
    """Set the folder of hailort.log before the import; the default is the current folder."""
    folder = Path.home() / ".hailo" / "hailort"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    os.environ.setdefault("HAILORT_LOGGER_PATH", str(folder))


def _missing(exc: ModuleNotFoundError) -> str:
    if exc.name and "_pyhailort" in exc.name:
        return (
            f"hailo_platform has no native module for Python {sys.version_info[0]}.{sys.version_info[1]}; "
            "create the environment with the system's own python3, or install the wheel for this Python"
        )
    text = "Python package hailo_platform is not installed"
    if sys.prefix == sys.base_prefix:
        return (
            f"{text}; on a Raspberry Pi run `sudo apt install hailo-all` (Hailo-10H: hailo-h10-all) and "
            "restart"
        )
    installed = Path(DISTRO_PACKAGES, "hailo_platform").is_dir()
    where = "the system's Python has it, but" if installed else "and"
    return (
        f"{text}: {where} this virtual environment does not see the system's packages; recreate it with "
        "`/usr/bin/python3 -m venv --system-site-packages` after `sudo apt install hailo-all` "
        "(Hailo-10H: hailo-h10-all)"
    )


def _unusable(exc: Exception) -> str:
    said = " ".join(str(exc).split())
    if "libhailort" in said:
        return (
            f"hailo_platform does not find its library ({said}); package and library must be one version, to "
            "the last number: run `sudo apt install --reinstall hailo-all` and restart"
        )
    return f"hailo_platform cannot be imported ({type(exc).__name__}: {said}); reinstall it (docs/hailo.md)"


def is_double(hrt: Any) -> bool:
    """Whether `hrt` is a test double; the core of the real package is a native extension."""
    native = getattr(getattr(hrt, "pyhailort", None), "_pyhailort", None)
    return not str(getattr(native, "__file__", "")).endswith((".so", ".pyd"))


def wants_npu(model: str | Path, encoder: str) -> bool:
    """Whether a job with this model and `--encoder` would use an NPU if there is one."""
    folder = Path(model)
    if encoder == "auto":
        return (folder / "bundle.json").is_file() and bool(hef_entries(folder))
    return encoder == "hailo"


def devices() -> tuple[tuple[str, ...], str]:
    """Ids of this machine's NPUs, found without opening one; if there are none, a sentence why."""
    if importlib.util.find_spec("hailo_platform") is None:
        return (), _missing(ModuleNotFoundError(name="hailo_platform"))
    try:
        found = tuple(scan(vendor()))
    except (ModelError, NpuError) as error:
        return (), str(error)
    return found, "" if found else ABSENT


def open_encoder(
    bundle: Path,
    cpu: Callable[[], Encoder],
    options: LoadOptions,
    *,
    read: Callable[[Float32], str] | None = None,
    patience: Patience | None = None,
) -> Encoder:
    """Open the encoder of `options.encoder`: `cpu`, `hailo`, or `auto` (the NPU if it can be used).

    `cpu` creates the bundle's CPU encoder when it is needed; `read` decodes hidden states [positions, width]
    to text for the probe. Raises ModelError if `hailo` was requested and is not available.
    """
    if options.encoder == "cpu" or (options.encoder == "auto" and not hef_entries(bundle)):
        return cpu()
    try:
        return _open(bundle, cpu, options, read, patience)
    except SiblingHoldsError as fault:
        log.warning("%s; encoding on the CPU in this worker", fault)
        return Standby(cpu())
    except (NpuError, ModelError) as fault:
        if options.encoder == "hailo":
            raise ModelError(str(fault)) from fault
        log.warning("no NPU, encoding on the CPU: %s", fault)
        return cpu()


def _open(
    bundle: Path,
    cpu: Callable[[], Encoder],
    options: LoadOptions,
    read: Callable[[Float32], str] | None,
    patience: Patience | None,
) -> Encoder:
    choose_hef(bundle, "")  # report a bundle without an encoder before opening a device
    hrt = vendor()
    hold = acquire(hrt, options.npu_service)
    try:
        session = Session(hrt, choose_hef(bundle, hold.arch), service=options.npu_service)
    finally:
        release(hold)

    def probe(window: Layout, hidden: Layout) -> Probe:
        path = bundle / PROBE
        kept = load_probe(path, window, hidden) if path.is_file() else None
        found = kept or make_probe(cpu(), window.columns)
        found.read = read
        return found

    try:
        return HailoEncoder(session, cpu, probe, probe_seconds=60 * options.probe_minutes, patience=patience)
    except BaseException:
        session.close()
        raise


def open_decoder(bundle: Path, positions: int, options: LoadOptions) -> NpuDecoder:
    """Open the fixed-length decoder on the NPU, over `positions` hidden states. Raises ModelError."""
    choose_hef(bundle, "", "decoder")
    hrt = vendor()
    try:
        hold = acquire(hrt, options.npu_service)
        try:
            session = Session(hrt, choose_hef(bundle, hold.arch, "decoder"), service=options.npu_service)
        finally:
            release(hold)
    except NpuError as fault:
        raise ModelError(str(fault)) from fault
    try:
        return NpuDecoder(session, bundle / FOLDER, positions)
    except BaseException:
        session.close()
        raise


__all__ = ["devices", "is_double", "open_decoder", "open_encoder", "vendor", "wants_npu"]
