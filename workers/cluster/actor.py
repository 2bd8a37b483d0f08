"""The driver's side of one actor: its units, and its one outstanding call.

New units travel with the next call. Ray restarts and retries nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from asr_batch.manifests.records import Unit
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.advance import Advance, Key
from asr_batch.workers.cluster.file_transfer import FileTransfer, folder_of, must_send
from asr_batch.workers.cluster.nodes.node import Node
from asr_batch.workers.desk import Desk
from asr_batch.workers.file_stamp import stamp
from asr_batch.workers.pool import SLICE, LostReason, PoolEvent, UnitDone, UnitsLost, WorkerSpec

log = logging.getLogger(__name__)


class Actor:
    """One actor on a `node`, reached by Ray's `handle`; `npu`: it has an NPU of the node.

    `call` is the outstanding call, made at `called` (monotonic seconds). The first call loads the models;
    when it has returned, the actor is `ready`. Audio that the node does not see goes through `transfer`.
    """

    def __init__(self, name: str, node: Node, handle: Any, transfer: FileTransfer, npu: bool = False) -> None:
        self.name, self.node, self.handle, self.npu = name, node, handle, npu
        self.desk = Desk(name, node.name, 0, 1.0)
        self.ready = False
        self.call: Any = None
        self.called = 0.0
        self._transfer = transfer

    def load(self, spec: WorkerSpec, maker: str, share: int) -> None:
        """Start loading the models."""
        self._calls(self.handle.load.remote(spec, maker, share))

    def loaded(self, info: ModelInfo, room: int) -> None:
        """The models are loaded; accept units."""
        self.call = None
        self.desk = Desk(self.name, self.node.name, room, info.window)
        self.desk.backend = info.encoder_backend
        self.ready = True

    def advance(self) -> None:
        """Call one step, and submit the units that there is room for."""
        units = self.desk.dispatch()
        if self.node.machine.local:
            self._calls(self.handle.advance.remote(units, SLICE))
        else:
            self._call_with_files(units)

    def _call_with_files(self, units: Sequence[Unit]) -> None:
        """Submit units to another machine, with the stamps of their files or with the files themselves.

        Units whose file does not fit into the byte budget stay in the queue.
        """
        stamps, sent, refs, going = {}, [], [], []
        for unit in units:
            if must_send(unit, self.node.unshared):
                try:
                    ref = self._transfer.send(unit)
                except OSError as error:  # the worker, which does not find the file either, fails the row
                    log.debug("%s could not be sent: %s", unit.item.location, error)
                else:
                    if ref is None:
                        self.desk.put_back(unit)
                        continue
                    sent.append(unit.key)
                    refs.append(ref)
            elif (seen := stamp(unit.item.location)) is not None:
                stamps[unit.key] = seen
            going.append(unit)
        if going or self.desk.held:
            self._calls(self.handle.advance.remote(going, SLICE, stamps, sent, *refs))

    def _calls(self, call: Any) -> None:
        self.call, self.called = call, time.monotonic()

    def receive(self, advance: Advance, refused: Iterable[Key]) -> list[PoolEvent]:
        """Process the result of a step; files that the node `refused` are sent from now on."""
        self.call = None
        for key in refused:
            unit = self.desk.held[key]
            self.node.unshared.add(folder_of(unit))
            self.desk.put_back(unit)
        return self._released(self.desk.receive(advance))

    def lost(
        self, reason: LostReason, culpable: bool, message: str, keys: Iterable[Key] | None = None
    ) -> list[PoolEvent]:
        """The events of lost units with `keys` (None: all held units)."""
        return self._released(self.desk.lost(reason, culpable, message, keys))

    def _released(self, events: list[PoolEvent]) -> list[PoolEvent]:
        for event in events:
            if isinstance(event, UnitDone):
                self._transfer.release(event.result.key)
            elif isinstance(event, UnitsLost):
                for unit in event.units:
                    self._transfer.release(unit.key)
        return events

    def late(self) -> list[Key]:
        """Keys of units that count as hung."""
        return self.desk.late(None if self.call is None else self.called)
