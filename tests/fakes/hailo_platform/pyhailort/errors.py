"""Exceptions of the double, by version, and the wrapper that turns native ones into them."""

from __future__ import annotations

from typing import Any

from hailo_platform.pyhailort import _pyhailort

CLASSES: dict[str, type[Exception]] = {}


def _make() -> None:
    for name, entries in _pyhailort.API["exceptions"]["python_classes"].items():
        for entry in entries:
            if not _pyhailort.known(entry["versions"]):
                continue
            if "native" in entry["defined"]:
                CLASSES[name] = _pyhailort.HailoRTException
            else:
                base = entry["bases"][0]
                CLASSES[name] = type(name, (CLASSES.get(base, Exception),), {"__module__": MODULE})


MODULE = "hailo_platform.pyhailort.pyhailort"
_make()
HailoRTException = CLASSES["HailoRTException"]
MissingPyHRTLib = type("MissingPyHRTLib", (Exception,), {"__module__": MODULE})
MAPPING = {
    entry["hailo_status"]: entry["class"]
    for entry in _pyhailort.API["exceptions"]["status_to_exception"]
    if _pyhailort.known(entry["versions"])
}


def from_status(code: int) -> Exception:
    """The Python exception for a status code; mapped ones carry no code in their text."""
    name = next(name for name, value in _pyhailort.STATUS.items() if value == code)
    if name in MAPPING:
        return CLASSES[MAPPING[name]](f"{MAPPING[name]} was raised by libhailort")
    return HailoRTException(f"libhailort failed with error: {code} ({name})")


class ExceptionWrapper:
    def __enter__(self) -> None:
        pass

    def __exit__(self, exception_type: Any, value: Any, traceback: Any) -> None:
        if isinstance(value, _pyhailort.HailoRTStatusException):
            raise from_status(int(value.args[0])) from value

    @staticmethod
    def create_exception_from_status(error_code: int) -> Exception:
        return from_status(error_code)
