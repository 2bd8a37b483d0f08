"""Translates HailoRT's exceptions: a rung of the recovery ladder and a sentence for a person.

HailoRT maps some statuses to exception classes and drops their code; other methods leak the native exception,
whose first argument is the code as text. Class *names* are compared here, because several classes exist only
in some versions and none is exported publicly (read from HailoRT's sources, 4.20 to 5.2).
"""

from __future__ import annotations

import re
from enum import IntEnum

TIMEOUT, INVALID_OPERATION, STREAM_ABORT, OUT_OF_DEVICES = 4, 6, 63, 74

CODES = {
    "HailoRTTimeout": TIMEOUT,
    "HailoRTInvalidOperationException": INVALID_OPERATION,
    "HailoRTInvalidArgumentException": 2,
    "HailoRTStreamAborted": STREAM_ABORT,
    "HailoRTStreamAbortedByUser": STREAM_ABORT,
    "HailoRTNotFoundException": 61,
    "HailoRTInvalidHEFException": 26,
    "HailoRTHEFNotCompatibleWithDevice": 93,
    "HailoRTDriverOperationFailedException": 36,
    "HailoRTFirmwareControlFailedException": 18,
    "HailoRTUnsupportedOpcodeException": 48,
    "HailoRTInvalidFrameException": 25,
    "HailoRTNetworkGroupNotActivatedException": 69,
    "HailoCommunicationClosedException": 62,
    "InvalidProtocolVersionException": 15,
}
MEMORY = "close other programs that use the NPU or much memory, or restart the machine"
SENTENCES = {
    2: "HailoRT rejected an argument (a device id that does not exist, or the service without a scheduler); "
    "compare with `hailortcli scan`",
    3: f"the host has too little memory to configure the NPU; {MEMORY}",
    4: "the NPU did not answer in time; check `dmesg | grep -i hailo`, the power supply (27 W) and cooling",
    6: "HailoRT rejected the operation (a buffer of the wrong size or a batch that is too large)",
    13: "the HEF file cannot be opened; check its path and permissions",
    16: "the NPU's firmware and HailoRT have different versions; install one version of driver, firmware and "
    "library (`apt install --reinstall hailo-all`) and restart the machine",
    24: f"the NPU has no room for this network's contexts; {MEMORY}",
    26: "HailoRT rejects the HEF (damaged, made by a newer compiler, or for another chip); copy it again or "
    "compile it for this chip with `asr-batch models compile --target`",
    36: "the driver refuses to open the NPU; check `dmesg | grep -i hailo` and `ls -l /dev/hailo0` (the "
    "vendor's udev rule lets everyone read and write; a container needs `--device /dev/hailo0`)",
    47: f"the driver has no descriptors left; {MEMORY}; on some boards it helps to set "
    "`options hailo_pci force_desc_page_size=4096` in /etc/modprobe.d/hailo_pci.conf",
    62: "the connection to the HailoRT service was lost; run `systemctl restart hailort.service`",
    63: "the NPU aborted its work (a reset, a shutdown or overheating closes all streams); check cooling",
    71: f"the NPU's firmware has no memory left; {MEMORY}",
    72: "the network is not activated; this is a bug in asr-batch (the scheduler must be on)",
    73: "the NPU is in use by another process (rpicam, picamera2, Frigate, another asr-batch); stop it, or "
    "share the NPU with `npu_service = true` in every program",
    76: "the Hailo driver is another version than HailoRT (all three numbers must agree); reinstall both "
    "(`apt install --reinstall hailo-all`) and restart the machine to load the new driver",
    77: "the HailoRT service does not answer; run `systemctl enable --now hailort.service`, or set "
    "`npu_service = false`",
    78: "the HailoRT service is another version than the library; restart it after the upgrade: "
    "`systemctl restart hailort.service`",
    79: "this HailoRT does not support this chip: Hailo-8 and 8L need HailoRT 4.x (`hailo-all`), Hailo-10H "
    "needs 5.x (`hailo-h10-all`)",
    81: f"the kernel has no contiguous memory (CMA) left for the NPU; {MEMORY}",
    82: "the NPU's queue is full; this is a bug in asr-batch",
    85: "HailoRT does not understand the driver's answer; restart the machine and check "
    "`dmesg | grep -i hailo`",
    86: "the driver does not know a call of this HailoRT; install one version of driver and library and "
    "restart",
    87: "the driver timed out; restart the machine, and check the power supply (27 W) and "
    "`dmesg | grep -i hailo`",
    91: "the HEF is damaged (wrong checksum); copy or download it again",
    92: "HailoRT does not know this kind of HEF (made by a newer compiler, or not a HEF); install a newer "
    "HailoRT, or compile with the DFC 3.x for Hailo-8/8L, 5.x for Hailo-10H",
    93: "the HEF was compiled for another chip; compile it for this one with "
    "`asr-batch models compile --target`",
}
ABSENT = (
    "no Hailo device found; check `lspci | grep Hailo`, that the driver is loaded (`dmesg | grep -i hailo`), "
    "and that the machine was restarted after `apt install dkms hailo-all` (Hailo-10H: hailo-h10-all)"
)
SAME_IN_NUMPY_2 = (
    "; HailoRT 4.x bindings may misread array sizes under NumPy {numpy}: "
    "run `pip install 'numpy<2' 'pyarrow<26'` in this environment"
)


class Rung(IntEnum):
    """The lowest rung of the recovery ladder that can help, in ascending order."""

    JOB = 0
    MODEL = 1
    DEVICE = 2
    NONE = 3


class NpuError(Exception):
    """The NPU failed; `rung` says where recovery starts, the message what to do. Never leaves models/."""

    def __init__(self, rung: Rung, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.rung = rung
        self.code = code


LOST = {36, 62, 73, 74, 76, 77, 78, 85, 86, 87, 96, 97}
HOPELESS = {13, 26, 79, 91, 92, 93}


def status(exc: BaseException) -> int | None:
    """The HailoRT status code behind `exc`, or None if unknown."""
    for one in (exc, exc.__cause__):
        if one is not None and type(one).__name__ == "HailoRTStatusException" and one.args:
            return _number(str(one.args[0]))
    for base in type(exc).__mro__:
        if base.__name__ in CODES:
            return CODES[base.__name__]
    found = re.search(r"failed with error: (\d+)", str(exc))
    return int(found[1]) if found else None


def _number(text: str) -> int | None:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else None


def explain(exc: BaseException, doing: str, rung: Rung = Rung.MODEL) -> NpuError:
    """Translate a vendor exception raised while `doing` something; `rung` is the default for unknown ones."""
    code = status(exc)
    if code in LOST or "not found in the system" in str(exc):
        rung = Rung.DEVICE
    elif code in HOPELESS:
        rung = Rung.NONE
    elif code == STREAM_ABORT:
        rung = max(rung, Rung.MODEL)
    text = SENTENCES.get(code or -1)
    if text is None:
        hint = "see the last lines of hailort.log"
        text = f"HailoRT failed with {type(exc).__name__}: {' '.join(str(exc).split()) or 'no text'}; {hint}"
    return NpuError(rung, f"while {doing}: {text}" + (f" (status {code})" if code is not None else ""), code)
