"""What runs in the processes of Ray: the worker's host, with everything passed as plain values.

Needs no `import ray`: the driver makes remote classes of these.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import AsrBatchError
from asr_batch.manifests.location import is_remote
from asr_batch.manifests.records import Unit
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.pool import WorkerSpec
from asr_batch.workers.sizing import MemoryBound
from asr_batch.workers.worker import Advance, Worker

Witness = tuple[int, int]
"""Size in bytes and time of last change in ns of a file as the driver sees it."""


class WorkerActor:
    """Hosts one :class:`Worker` in a process of its own."""

    def __init__(self, node: str) -> None:
        # Ctrl-C in a terminal reaches the whole process group; when to end is the driver's decision.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not faulthandler.is_enabled():
            faulthandler.enable(all_threads=False)
        self._node = node
        self._worker: Any = None

    def load(self, spec: WorkerSpec, maker: str, share: int) -> tuple[ModelInfo, int, int] | AsrBatchError:
        """Load the models; returns them with the room for units and the process id, or what is wrong.

        `share` is by how many bytes this process may grow.
        """
        bound = MemoryBound(share)
        module, _, name = maker.partition(":")
        make: type[Worker] = getattr(import_module(module), name)
        try:
            self._worker = make(spec, self._node)
        except AsrBatchError as error:
            return error
        bound.hold()
        return self._worker.info, self._worker.room(), os.getpid()

    def advance(
        self,
        units: Sequence[Unit],
        seconds: float,
        witnesses: dict[tuple[str, int], Witness] | None = None,
        carried: Sequence[tuple[str, int]] = (),
        *payloads: Any,
    ) -> tuple[Advance, tuple[tuple[str, int], ...]]:
        """One step of the worker, see :meth:`Worker.advance`.

        `payloads` are compressed files (uint8 arrays) of the units with the keys `carried`. Units whose file
        is not here as `witnesses` says are refused: their keys are returned beside what was brought.
        """
        sent = dict(zip(carried, payloads, strict=True))
        here, refused = [], []
        for unit in units:
            if unit.key in sent:
                here.append(replace(unit, payload=sent[unit.key].tobytes()))
            elif witnesses and unit.key in witnesses and not same_file(unit, witnesses[unit.key]):
                refused.append(unit.key)
            else:
                here.append(unit)
        return self._worker.advance(here, seconds), tuple(refused)


def witness(location: str) -> Witness | None:
    """Size and time of change of a local file; None where there is no such file or it is remote."""
    if is_remote(location):
        return None
    try:
        found = Path(location).stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def same_file(unit: Unit, expected: Witness) -> bool:
    """Whether this machine sees the driver's file: same size, same time of change within 2 s (SMB, FAT)."""
    found = witness(unit.item.location)
    return found is not None and found[0] == expected[0] and abs(found[1] - expected[1]) <= 2_000_000_000
