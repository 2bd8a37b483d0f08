"""One worker: the loaded models, a transcriber, and the units that it holds. A plain class without Ray.

The driver calls :meth:`Worker.advance` repeatedly, one call at a time; each call brings new units and
returns finished ones. Between calls the decoder's slots keep their windows. So slots stay full across
units, and a pool needs no second channel to its workers.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from asr_batch.manifests.errors import ErrorCode, ItemError, RetryableError, WorkerFatalError
from asr_batch.manifests.records import Failure, SpanResult, Unit
from asr_batch.models.encoder import Monitored
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import ModelInfo, Recognizer
from asr_batch.pipeline.transcribe import Transcriber
from asr_batch.workers.advance import Advance, Key, Returned
from asr_batch.workers.intake import Intake
from asr_batch.workers.pool import LostReason, WorkerSpec
from asr_batch.workers.unconfirmed import Unconfirmed, by_npu

log = logging.getLogger(__name__)

MIN_SLICE = 0.1
"""Seconds that a call continues after the first finished unit, so that tiny files share a call, and after
which it ends if there is room for further units.
"""

MAX_LOOKAHEAD = 64
"""Maximum number of units queued beside those in the transcriber, to cover the time between two calls."""


@dataclass(slots=True)
class _Tally:
    """Accumulates the result of one call."""

    results: list[SpanResult] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)
    fatal: str | None = None


class Worker:
    """Loaded models and the units they work on. Raises ModelError if the model cannot be used."""

    def __init__(self, spec: WorkerSpec, node: str) -> None:
        self.node = node
        self._spec = spec
        self._intake = Intake()
        self._units: dict[Key, Unit] = {}
        self._unconfirmed = Unconfirmed(spec.load.probe_minutes)
        self._lookahead = 0
        self._refused = False
        self._start()

    def _start(self) -> None:
        self._recognizer: Recognizer = load_recognizer(self._spec.model, self._spec.load)
        second = self._second if self._spec.second_model is not None else None
        self._transcriber = Transcriber(self._recognizer, self._spec.pipeline, second, self.node)

    def _second(self) -> Recognizer:
        """The second model, loaded when it is first needed."""
        assert self._spec.second_model is not None
        load = replace(self._spec.load, window=self._recognizer.info.window)
        return load_recognizer(self._spec.second_model, load)

    @property
    def info(self) -> ModelInfo:
        """The loaded model."""
        return self._recognizer.info

    @property
    def idle(self) -> bool:
        """Whether it holds no unit."""
        return not self._units

    def room(self) -> int:
        """Number of further units that the worker accepts now."""
        return max(0, self._transcriber.room() + self._lookahead - len(self._intake))

    def advance(self, units: Sequence[Unit], seconds: float) -> Advance:
        """Accept `units` and work for up to `seconds`, or until new units are needed.

        Never raises for errors of a unit or the engine: failures are in the results or in `returned`.
        """
        self._units.update((unit.key, unit) for unit in units)
        self._intake.add(units)
        self._refused = self._refused and not units
        tally = _Tally()
        try:
            self._work(tally, time.monotonic(), seconds)
        except WorkerFatalError as error:
            tally.fatal = str(error)
        except Exception as error:  # noqa: BLE001 - whatever the engine raises, no unit may be lost
            self._recover(error, tally)
        return self._retire(tally) if tally.fatal is not None else self._tell(tally)

    def _tell(self, tally: _Tally) -> Advance:
        results = self._confirmed(tally.results)
        for result in results:
            self._drop(result.key)
        # The transcriber itself looks ahead for longer than a call takes, unless units are tiny.
        self._lookahead = min(MAX_LOOKAHEAD, 2 * len(results))
        room = self.room()
        self._refused = room > 0
        return Advance(
            tuple(results),
            tuple(self._transcriber.progress().items()),
            tuple(tally.returned),
            room,
            self._recognizer.occupancy(),
            self._recognizer.info.encoder_backend,
            npu=self._npu(),
        )

    def _npu(self) -> tuple[tuple[str, float], ...]:
        recognizer = self._recognizer
        return tuple(recognizer.stats().items()) if isinstance(recognizer, Monitored) else ()

    def _retire(self, tally: _Tally) -> Advance:
        """Report what needs no confirmation and return the rest; the worker accepts no more units."""
        results = tuple(result for result in tally.results if not by_npu(result))
        for result in results:
            self._drop(result.key)
        self._give_back(tally, list(self._units), "worker_fatal", tally.fatal or "")
        return Advance(results, returned=tuple(tally.returned), fatal=tally.fatal)

    def _work(self, tally: _Tally, begun: float, seconds: float) -> None:
        """Work until there is something to tell: results, or room for units if the driver may have some.

        A driver that brought none for the room it was told of has none.
        """
        while (left := begun + seconds - time.monotonic()) > 0:
            self._feed(tally)
            if self._transcriber.open_units():
                tally.results += self._transcriber.advance(min(left, MIN_SLICE))
            elif self._intake.fetching:
                self._intake.wait(left)
            elif not self._intake:
                return
            over, hungry = time.monotonic() - begun >= MIN_SLICE, self._hungry()
            if (tally.results and (over or hungry)) or (over and hungry and not self._refused):
                return

    def _hungry(self) -> bool:
        return not self._intake and self._transcriber.room() > 0

    def _feed(self, tally: _Tally) -> None:
        """Move units whose audio is available into the transcriber, as far as it has room."""
        for unit, audio in self._intake.ready(self._transcriber.room):
            if isinstance(audio, ItemError):
                tally.results.append(self._failed(unit.key, audio.code, audio.message))
            elif isinstance(audio, RetryableError):
                self._give_back(tally, [unit.key], "retryable", str(audio))
            else:
                self._transcriber.add(unit, audio)

    def _failed(self, key: Key, code: ErrorCode, message: str) -> SpanResult:
        sha256 = self._recognizer.info.sha256
        return SpanResult(key, node=self.node, model_sha256=sha256, failure=Failure(code, message))

    # -- parity of an NPU -----------------------------------------------------------------------------

    def _confirmed(self, finished: Iterable[SpanResult]) -> list[SpanResult]:
        """Results that may be reported: those that involve an NPU wait for the next good parity probe."""
        ready, again = self._unconfirmed.hold(finished)
        self._again(again)
        idle = not (self._intake or self._transcriber.open_units())
        if not self._unconfirmed or not (idle or self._unconfirmed.due()):
            return ready
        if self._recognizer.confirm():
            return ready + self._unconfirmed.release()
        rejected = self._unconfirmed.reject([unit.key for unit in self._transcriber.open_units()])
        log.warning("%s: the NPU's parity probe failed, %d units are decoded again", self.node, len(rejected))
        self._again(rejected)
        return ready

    def _again(self, keys: Iterable[Key]) -> None:
        self._intake.add(self._units[key] for key in keys)

    # -- faults ---------------------------------------------------------------------------------------

    def _recover(self, error: Exception, tally: _Tally) -> None:
        """Restart the engine, and return or fail the units that were open when it raised.

        A lone unit is blamed for any error except a retryable one, and fails. Several units are returned
        to be run alone.
        """
        log.warning("%s: the engine raised %r and is restarted", self.node, error, exc_info=error)
        traceback.clear_frames(error.__traceback__)  # release the engine's memory before loading it again
        elsewhere = self._intake.keys() | self._unconfirmed.keys()
        elsewhere.update(result.key for result in tally.results)
        keys = [key for key in self._units if key not in elsewhere]
        try:
            self._restart()
        except Exception as again:  # noqa: BLE001 - a worker that cannot load its model is of no use
            tally.fatal = f"the model cannot be loaded again after {error!r}: {again}"
        else:
            self._charge(error, keys, tally)

    def _charge(self, error: Exception, keys: list[Key], tally: _Tally) -> None:
        oom = _ran_out_of_memory(error)
        text = f"{type(error).__name__} while decoding: {error}"
        if isinstance(error, RetryableError):
            self._give_back(tally, keys, "retryable", str(error))
        elif len(keys) == 1 and isinstance(error, ItemError):
            tally.results.append(self._failed(keys[0], error.code, error.message))
        elif len(keys) == 1:
            code: ErrorCode = "out_of_memory" if oom else "internal_error"
            tally.results.append(self._failed(keys[0], code, text))
        else:
            self._give_back(tally, keys, "out_of_memory" if oom else "crashed", text, True)

    def _restart(self) -> None:
        self._transcriber.close()
        self._start()

    def _give_back(
        self, tally: _Tally, keys: list[Key], reason: LostReason, message: str, culpable: bool = False
    ) -> None:
        for key in keys:
            self._drop(key)
        if keys:
            tally.returned.append(Returned(tuple(keys), reason, culpable, message))

    def _drop(self, key: Key) -> None:
        unit = self._units.pop(key)
        self._unconfirmed.forget(key)
        self._intake.release(unit)

    def close(self) -> None:
        """Release models, devices and temporary files."""
        self._transcriber.close()
        self._intake.close()


def _ran_out_of_memory(error: BaseException) -> bool:
    """Whether it is Python's own error, or the text of ONNX Runtime or C++ says so."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "bad_alloc" in text or "failed to allocate memory" in text
