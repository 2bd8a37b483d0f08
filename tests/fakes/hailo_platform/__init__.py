"""A test double of HailoRT's Python package, written from the contract; see `double.py` for its settings."""

from __future__ import annotations

from hailo_platform import double

if double.settings()["import_error"]:
    raise ImportError(double.settings()["import_error"])

from hailo_platform.pyhailort import _pyhailort, pyhailort

__version__ = _pyhailort.__version__
IS_TEST_DOUBLE = True
for _name, _entry in _pyhailort.API["top_level_exports"].items():
    if _pyhailort.known(_entry["versions"]):
        globals()[_name] = getattr(pyhailort, _name)
