"""Gathers the double's classes where HailoRT defines them; what no adapter here uses are bare names."""

from __future__ import annotations

from typing import Any

from hailo_platform import double
from hailo_platform.pyhailort import _pyhailort
from hailo_platform.pyhailort.device import (
    BoardInformation,
    Control,
    Device,
    DeviceArchitectureTypes,
    VDevice,
)
from hailo_platform.pyhailort.errors import CLASSES, ExceptionWrapper, MissingPyHRTLib
from hailo_platform.pyhailort.hef import HEF
from hailo_platform.pyhailort.infer import (
    AsyncInferCompletionInfo,
    AsyncInferJob,
    ConfiguredInferModel,
    InferModel,
)

globals().update(CLASSES)
HailoRTPCIeDriverException = CLASSES["HailoRTDriverOperationFailedException"]
FormatType = _pyhailort.FormatType
FormatOrder = _pyhailort.FormatOrder
HailoFormatFlags = _pyhailort.FormatFlags
HailoSchedulingAlgorithm = _pyhailort.SchedulingAlgorithm
HailoPowerMode = _pyhailort.PowerMode
HailoStreamInterface = _pyhailort.StreamInterface
HailoStreamDirection = _pyhailort.StreamDirection

__all__ = [
    "HEF", "AsyncInferCompletionInfo", "AsyncInferJob", "BoardInformation", "ConfiguredInferModel", "Control",
    "Device", "DeviceArchitectureTypes", "ExceptionWrapper", "FormatOrder", "FormatType", "HailoFormatFlags",
    "HailoPowerMode", "HailoRTPCIeDriverException", "HailoSchedulingAlgorithm", "HailoStreamDirection",
    "HailoStreamInterface", "InferModel", "MissingPyHRTLib", "VDevice", "double",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Names of the older API and of other device families exist and refuse to be used."""
    entry = _pyhailort.API["top_level_exports"].get(name)
    if entry is None or not _pyhailort.known(entry["versions"]):
        raise AttributeError(name)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"the double does not imitate {name}")

    return type(name, (), {"__init__": __init__})
