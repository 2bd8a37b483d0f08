"""The native module of the double: status exceptions, enums, version (see tests/data/hailo_api.json)."""

from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path

from hailo_platform import double

API = json.loads((Path(__file__).resolve().parents[3] / "data" / "hailo_api.json").read_text())
__version__ = double.settings()["version"]

if double.version() >= (5, 2, 0):

    class HailoRTException(Exception):
        pass

    class HailoRTStatusException(HailoRTException):
        pass

    class HailoRTCustomException(HailoRTException):
        pass

else:

    class HailoRTException(Exception):  # type: ignore[no-redef]
        pass

    class HailoRTStatusException(Exception):  # type: ignore[no-redef]
        pass

    class HailoRTCustomException(Exception):  # type: ignore[no-redef]
        pass


def known(versions: str) -> bool:
    """Whether the chosen version is in a `versions` entry of the contract's table."""
    full = API["version_sets"].get(versions, versions.split(","))
    return __version__ in full


STATUS = {
    name: entry["value"] for name, entry in API["hailo_status_codes"].items() if known(entry["versions"])
}


def fail(name: str) -> HailoRTStatusException:
    """The native exception for a status name; `args[0]` is the code as text."""
    return HailoRTStatusException(str(STATUS[name]))


def _enum(name: str) -> type[IntEnum]:
    members = [m for m, versions in API["native_enums"][name].items() if known(versions) and m[0].isalpha()]
    return IntEnum(name, {member: index for index, member in enumerate(members)})


FormatType = _enum("FormatType")
FormatOrder = _enum("FormatOrder")
FormatFlags = _enum("FormatFlags")
StreamInterface = _enum("StreamInterface")
StreamDirection = _enum("StreamDirection")
PowerMode = IntEnum("PowerMode", {"PERFORMANCE": 0, "ULTRA_PERFORMANCE": 1})
SchedulingAlgorithm = IntEnum("SchedulingAlgorithm", {"NONE": 0, "ROUND_ROBIN": 1})
