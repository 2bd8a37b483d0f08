"""Sends audio to nodes that do not see the driver's files: the compressed file goes with the call."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.manifests.location import is_remote
from asr_batch.manifests.records import Unit

BUDGET = 256 << 20
"""Maximum bytes of audio in flight; a larger file is sent alone."""

Key = tuple[str, int]


@dataclass(slots=True)
class _Sent:
    ref: Any
    size: int
    users: set[Key] = field(default_factory=set)


class FileTransfer:
    """Files in Ray's object store, each once for all units that need it, within a budget of bytes."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._sent: dict[str, _Sent] = {}
        self._locations: dict[Key, str] = {}

    def send(self, unit: Unit) -> Any:
        """A reference to the file of `unit`, or None while the budget is exhausted. Raises OSError."""
        location = unit.item.location
        sent = self._sent.get(location)
        if sent is None:
            path = Path(location)
            under_way = sum(one.size for one in self._sent.values())
            if under_way and under_way + path.stat().st_size > BUDGET:
                return None
            data = np.fromfile(path, np.uint8)
            sent = self._sent[location] = _Sent(self._ray.put(data), data.size)
        sent.users.add(unit.key)
        self._locations[unit.key] = location
        return sent.ref

    def release(self, key: Key) -> None:
        """Release the file of a returned or lost unit, unless another unit needs it."""
        location = self._locations.pop(key, None)
        if location is not None:
            sent = self._sent[location]
            sent.users.discard(key)
            if not sent.users:
                del self._sent[location]


def folder_of(unit: Unit) -> str:
    """The folder that represents the unit's file in `Node.unshared`."""
    return os.fspath(Path(unit.item.location).parent)


def must_send(unit: Unit, unshared: set[str]) -> bool:
    """Whether the unit's file has to be sent, given the folders that the node does not share."""
    location = unit.item.location
    return not is_remote(location) and folder_of(unit) in unshared and _is_regular(location)


def _is_regular(location: str) -> bool:
    try:
        return stat.S_ISREG(Path(location).stat().st_mode)
    except (OSError, ValueError):
        return False
