"""How audio gets to a node that does not see the driver's files: the compressed file goes with the call."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.manifests.location import is_remote
from asr_batch.manifests.records import Unit
from asr_batch.workers.cluster.fleet import Node

BUDGET = 256 << 20
"""Bytes of audio under way to nodes at a time; a single larger file goes when nothing else does."""

Key = tuple[str, int]


@dataclass(slots=True)
class _Parcel:
    ref: Any
    size: int
    users: set[Key] = field(default_factory=set)


class Cargo:
    """Files in Ray's object store, each once however many units need it, under a budget of bytes."""

    def __init__(self, ray: Any, budget: int = BUDGET) -> None:
        self._ray, self._budget = ray, budget
        self._parcels: dict[str, _Parcel] = {}
        self._locations: dict[Key, str] = {}

    def load(self, unit: Unit) -> Any:
        """A reference to the file of `unit`, or None while the budget is used up. Raises OSError."""
        location = unit.item.location
        parcel = self._parcels.get(location)
        if parcel is None:
            path = Path(location)
            under_way = sum(one.size for one in self._parcels.values())
            if under_way and under_way + path.stat().st_size > self._budget:
                return None
            data = np.fromfile(path, np.uint8)
            parcel = self._parcels[location] = _Parcel(self._ray.put(data), data.size)
        parcel.users.add(unit.key)
        self._locations[unit.key] = location
        return parcel.ref

    def release_key(self, key: Key) -> None:
        """The unit came back or was lost: its file goes when no other unit needs it."""
        location = self._locations.pop(key, None)
        if location is not None:
            parcel = self._parcels[location]
            parcel.users.discard(key)
            if not parcel.users:
                del self._parcels[location]


def folder_of(unit: Unit) -> str:
    """The folder that stands for the unit's file in `Node.strangers`."""
    return os.fspath(Path(unit.item.location).parent)


def must_carry(unit: Unit, node: Node) -> bool:
    """Whether the unit's file has to go with the call: the node is known not to share its folder."""
    location = unit.item.location
    return not is_remote(location) and folder_of(unit) in node.strangers and _is_regular(location)


def _is_regular(location: str) -> bool:
    try:
        return stat.S_ISREG(Path(location).stat().st_mode)
    except (OSError, ValueError):
        return False
