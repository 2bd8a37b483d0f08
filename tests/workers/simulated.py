"""A worker for tests and measurements of pools: recognises nothing, misbehaves by the name of the row.

`crash-…` ends its process, `hang-…` never returns, `slow-…` takes 0.2 s, `eat-…` fills the memory, `tell-…`
is written to the standard error, as libraries do.
"""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.manifests.records import SpanResult, WindowRecord
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.advance import Advance


class SimulatedWorker:
    room_for = 8

    def __init__(self, spec, node) -> None:
        self.spec, self.node, self.units = spec, node, {}

    @property
    def info(self):
        return ModelInfo("null", "null", self.spec.model, "0" * 64, "fp32", 10.0)

    @property
    def idle(self):
        return not self.units

    def room(self):
        return max(0, self.room_for - len(self.units))

    def advance(self, units, seconds):
        self.units.update((unit.key, unit) for unit in units)
        until, results = time.monotonic() + seconds, []
        for key in list(self.units):
            unit = self.units.pop(key)
            self.misbehave(unit.item.id)
            results.append(self.result(unit))
            if time.monotonic() > until:
                break
        return Advance(tuple(results), room=self.room(), slots=(1, 1))

    def misbehave(self, name):
        if name.startswith("crash-"):
            os._exit(139)
        if name.startswith("hang-"):
            time.sleep(3600)
        if name.startswith("slow-"):
            time.sleep(0.2)
        if name.startswith("tell-"):
            os.write(2, name.encode())
        if name.startswith("eat-"):
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(1 << 20)) * 64)

    def result(self, unit):
        end = unit.end or unit.seconds
        window = WindowRecord(0, unit.start, end, unit.start, end, "end", unit.item.id, node=self.node)
        return SpanResult(
            unit.key, unit.start, end, (window,), node=self.node, decoded_seconds=end - unit.start
        )

    def close(self):
        pass


class SlowToLoad(SimulatedWorker):
    def __init__(self, spec, node) -> None:
        time.sleep(0.5)
        super().__init__(spec, node)


class DiesLoading(SimulatedWorker):
    def __init__(self, spec, node) -> None:
        os._exit(139)


class Hoarder(SimulatedWorker):
    """Frees 64 MB below a piece that it keeps."""

    def advance(self, units, seconds):
        pieces = [bytearray(b"1") * (1 << 20) for _ in range(64)]
        self.kept = bytearray(b"1") * (1 << 20)
        del pieces
        return super().advance(units, seconds)


class ReadingWorker(SimulatedWorker):
    """Its text is how the audio came (`path` or `bytes`) and its SHA-256."""

    def result(self, unit):
        data = unit.payload if unit.payload is not None else Path(unit.item.location).read_bytes()
        how = "path" if unit.payload is None else "bytes"
        window = WindowRecord(0, 0.0, 1.0, 0.0, 1.0, "end", f"{how} {sha256(data).hexdigest()}")
        return SpanResult(unit.key, 0.0, 1.0, (window,), node=self.node)


class NoModel(SimulatedWorker):
    def __init__(self, spec, node) -> None:
        raise ModelError("there is no model")
