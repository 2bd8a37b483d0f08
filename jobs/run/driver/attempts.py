"""Decides about units that a pool lost: retry, run alone, or give up.

A crash counts against a unit only if it was the only one in the process that died. If there were several,
all are suspects, and each runs again on a worker without other units. After two such crashes the unit is
given up. A lost node does not count against its units; they are queued again, up to a generous limit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from asr_batch.manifests.errors import ErrorCode
from asr_batch.manifests.records import Failure, Unit
from asr_batch.workers.pool import UnitsLost

MAX_RETRIES = 3
MAX_KILLS = 2
MAX_LOSSES = 20

_CODES: dict[str, ErrorCode] = {
    "crashed": "worker_crashed",
    "hung": "timeout",
    "out_of_memory": "out_of_memory",
    "retryable": "fetch_failed",
    "worker_fatal": "internal_error",
    "node_lost": "internal_error",
}


@dataclass(slots=True)
class _History:
    retries: int = 0
    kills: int = 0
    losses: int = 0


class Attempts:
    """The queue of units that have to run again, with their history."""

    def __init__(self) -> None:
        self.again: deque[Unit] = deque()
        self._histories: dict[tuple[str, int], _History] = {}

    def lost(self, event: UnitsLost) -> list[tuple[Unit, Failure]]:
        """Queue the lost units again; returns those that are given up, with the reason."""
        given_up = []
        for unit in event.units:
            failure = self._judge(unit, event)
            if failure is None:
                alone = unit.alone or event.culpable
                self.again.append(replace(unit, attempt=unit.attempt + 1, alone=alone))
            else:
                self._histories.pop(unit.key, None)
                given_up.append((unit, failure))
        return given_up

    def forget(self, key: tuple[str, int]) -> None:
        """A unit finished: drop its history."""
        self._histories.pop(key, None)

    def _judge(self, unit: Unit, event: UnitsLost) -> Failure | None:
        history = self._histories.setdefault(unit.key, _History())
        if event.culpable:
            history.kills += len(event.units) == 1
            history.losses += len(event.units) > 1
        elif event.reason == "retryable":
            history.retries += 1
        else:
            history.losses += 1
        if history.kills >= MAX_KILLS or history.retries > MAX_RETRIES or history.losses > MAX_LOSSES:
            return Failure(_CODES[event.reason], _sentence(unit, event, history))
        return None


def _sentence(unit: Unit, event: UnitsLost, history: _History) -> str:
    if event.reason == "hung":
        return f"Not finished within {unit.deadline:.0f} s, twice, with no other file on the worker."
    if event.culpable:
        return f"The worker process died {history.kills} times with only this file on it: {event.message}"
    return f"Given up after {unit.attempt} attempts: {event.message}"
