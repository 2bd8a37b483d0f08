"""The JSON documents of a data set: typed records, replaced atomically, read leniently.

Readers of older or newer versions find what they know: missing fields have their defaults, others are
ignored. Text is encoded with Python's `json`, because paths on Linux need not be UTF-8.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from asr_batch.jobs.dataset.files import write_text

Document = TypeVar("Document", bound=msgspec.Struct)


def write_document(path: Path, document: msgspec.Struct, *, durable: bool = True) -> None:
    """Replace a JSON file atomically; NaN and infinity become null."""
    write_text(path, json.dumps(plain(document), indent=2) + "\n", durable=durable)


def plain(document: Any) -> Any:
    """A record as dicts, lists, texts and finite numbers."""
    return _finite(msgspec.to_builtins(document))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def read_document(path: Path, kind: type[Document]) -> Document | None:
    """The record in a JSON file; None if it is missing or invalid."""
    try:
        return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), kind)
    except (OSError, ValueError):
        return None
