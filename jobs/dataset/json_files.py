"""The JSON files of a data set: replaced atomically, read leniently."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from asr_batch.jobs.dataset.files import write_text

SUMMARY = "summary.json"


STATUS = ".status.json"


def write_json(path: Path, value: dict[str, Any], *, durable: bool = True) -> None:
    """Replace a JSON file atomically; NaN and infinity become null."""
    write_text(path, json.dumps(_plain(value), indent=2) + "\n", durable=durable)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    return value


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
