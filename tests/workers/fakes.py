"""A transcriber and a recognizer without models, for tests of the workers' bookkeeping."""

from __future__ import annotations

from typing import ClassVar

from asr_batch.manifests.records import AudioItem, Failure, SpanResult, Unit, WindowRecord
from asr_batch.models.recognizer import ModelInfo


def unit(name: str, location: str = "/nowhere.wav", **more) -> Unit:
    return Unit(AudioItem(name, location, location), end=1.0, seconds=1.0, deadline=60.0, **more)


class FakeRecognizer:
    def __init__(self, backend: str = "cpu") -> None:
        self.backend = backend
        self.answers: list[bool] = []
        self.closed = 0

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("fake", "fake", "/m", "0" * 64, "fp32", 10.0, encoder_backend=self.backend)

    def confirm(self) -> bool:
        answer = self.answers.pop(0) if self.answers else True
        if not answer:
            self.backend = "cpu"
        return answer

    def occupancy(self) -> tuple[int, int]:
        return 3, 4

    def close(self) -> None:
        self.closed += 1


class FakeTranscriber:
    """Finishes one unit a call, in order; a unit named `raise-X` raises what `errors["raise-X"]` holds."""

    slots = 2
    errors: ClassVar[dict[str, Exception]] = {}

    def __init__(self, recognizer, options, second=None, node="") -> None:
        self.recognizer, self.node = recognizer, node
        self.open: dict[tuple[str, int], Unit] = {}
        self.added: list[tuple[str, object]] = []

    def room(self) -> int:
        return max(0, self.slots - len(self.open))

    def add(self, unit, source) -> None:
        self.open[unit.key] = unit
        self.added.append((unit.item.id, source))

    def open_units(self):
        return tuple(self.open.values())

    def progress(self):
        return dict.fromkeys(self.open, 0.5)

    def advance(self, seconds):
        for one in self.open.values():
            if one.item.id in self.errors:
                raise self.errors[one.item.id]
        if not self.open:
            return []
        key = next(iter(self.open))
        self.open.pop(key)
        failure = Failure("unreadable", "no") if key[0].startswith("bad") else None
        window = WindowRecord(0, 0, 1, 0, 1, "end", key[0], encoder_backend=self.recognizer.backend)
        return [SpanResult(key, 0, 1, () if failure else (window,), node=self.node, failure=failure)]

    def close(self) -> None:
        self.open.clear()
        self.recognizer.close()
