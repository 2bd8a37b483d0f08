"""A worker in its own process (of Ray or of `workers.child`), with plain values as input and output.

Does not import ray: `workers.cluster` makes a remote class of it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from asr_batch.manifests.errors import AsrBatchError
from asr_batch.manifests.records import Unit
from asr_batch.models.memory import give_back
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.advance import Advance
from asr_batch.workers.file_stamp import FileStamp, same_file
from asr_batch.workers.pool import WorkerSpec
from asr_batch.workers.sizing import MemoryBound
from asr_batch.workers.worker import Worker


class WorkerHost:
    """Hosts one :class:`Worker` in its own process."""

    def __init__(self, node: str) -> None:
        # Ctrl-C in a terminal reaches the whole process group; the driver decides when to end.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not faulthandler.is_enabled():
            faulthandler.enable(all_threads=False)
        self._node = node
        self._worker: Any = None

    def load(self, spec: WorkerSpec, maker: str, share: int) -> tuple[ModelInfo, int] | AsrBatchError:
        """Load the models; returns them with the room for units, or an error.

        `maker` is the worker's class as module:Class; `share` is the number of bytes by which this process
        may grow.
        """
        bound = MemoryBound(share)
        module, _, name = maker.partition(":")
        make: type[Worker] = getattr(import_module(module), name)
        try:
            self._worker = make(spec, self._node)
        except AsrBatchError as error:
            return error
        bound.hold()
        return self._worker.info, self._worker.room()

    def advance(
        self,
        units: Sequence[Unit],
        seconds: float,
        stamps: dict[tuple[str, int], FileStamp] | None = None,
        sent: Sequence[tuple[str, int]] = (),
        *payloads: Any,
    ) -> tuple[Advance, tuple[tuple[str, int], ...]]:
        """One step of the worker, see :meth:`Worker.advance`.

        `payloads` are the compressed files (uint8 arrays) of the units with the keys `sent`. Units whose
        local file does not match `stamps` are refused: their keys are returned with the result of the
        step.
        """
        payload_of = dict(zip(sent, payloads, strict=True))
        here, refused = [], []
        for unit in units:
            if unit.key in payload_of:
                here.append(replace(unit, payload=payload_of[unit.key].tobytes()))
            elif stamps and unit.key in stamps and not same_file(unit.item.location, stamps[unit.key]):
                refused.append(unit.key)
            else:
                here.append(unit)
        return self._worker.advance(here, seconds), tuple(refused)

    def tidy(self) -> None:
        """Give memory back if nothing is left to do: a driver that writes the last rows needs some."""
        if self._worker is not None and self._worker.idle:
            give_back()
