"""Results of an NPU that are held back until its next parity probe has passed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from asr_batch.manifests.records import SpanResult

Key = tuple[str, int]


class Unconfirmed:
    """Held results, and the units that were open when a probe failed, which are also decoded again.

    A probe is due every `minutes`.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._probed = time.monotonic()
        self._held: dict[Key, SpanResult] = {}
        self._tainted: set[Key] = set()

    def __bool__(self) -> bool:
        return bool(self._held)

    def keys(self) -> set[Key]:
        """Units whose results are held."""
        return set(self._held)

    def hold(self, finished: Iterable[SpanResult]) -> tuple[list[SpanResult], list[Key]]:
        """Hold results that need a probe; returns those that do not, and units to decode again."""
        ready: list[SpanResult] = []
        again: list[Key] = []
        for result in finished:
            tainted = result.key in self._tainted
            self._tainted.discard(result.key)
            if not by_npu(result):
                ready.append(result)
            elif tainted:
                again.append(result.key)
            else:
                self._held[result.key] = result
        return ready, again

    def due(self) -> bool:
        """Whether results have waited long enough."""
        return bool(self._held) and time.monotonic() - self._probed >= 60.0 * self._minutes

    def release(self) -> list[SpanResult]:
        """The probe passed: all held results."""
        self._probed = time.monotonic()
        held, self._held = self._held, {}
        return list(held.values())

    def reject(self, running: Iterable[Key]) -> list[Key]:
        """The probe failed: the units to decode again. Those that are `running` follow when they finish."""
        self._tainted.update(running)
        return [result.key for result in self.release()]

    def forget(self, key: Key) -> None:
        """The unit no longer belongs to this worker."""
        self._tainted.discard(key)


def by_npu(result: SpanResult) -> bool:
    """Whether an NPU encoded any window of a result."""
    return any(window.encoder_backend == "hailo" for window in result.windows)
