"""Heartbeats of a node, requested from its agent without blocking."""

from __future__ import annotations

import time
from typing import Any, Literal

PULSE = 2.0
"""Seconds between two requests."""

SILENCE = 10.0
"""Seconds without an answer after which a node counts as silent."""

Sign = Literal["heard", "silent"] | None
"""Result of a check: an answer, a silence that is too long, or neither."""


class Pulse:
    """The outstanding request to one node's agent, and what earlier answers prove.

    `heard` is the time of the last answer. `proof` is the time of the request that it answered, at which
    the node was certainly alive. `temperature` is its hottest sensor's, in degrees Celsius. Times are
    monotonic seconds.
    """

    def __init__(self, ray: Any, agent: Any) -> None:
        self.heard = self.proof = time.monotonic()
        self.temperature: float | None = None
        self._ray, self._agent = ray, agent
        self._answer: Any = None
        self._asked = 0.0

    def ask(self) -> None:
        """Send a request now, even if another is outstanding."""
        self._answer, self._asked = self._agent.pulse.remote(), time.monotonic()

    def look(self) -> Sign:
        """Process an answer, or send a request if it is due. Raises RayError if the agent is gone."""
        now = time.monotonic()
        if self._answer is None:
            if now - self._asked >= PULSE:
                self.ask()
            return None
        if self._ray.wait([self._answer], timeout=0)[0]:
            answer, self._answer = self._answer, None
            self.temperature = self._ray.get(answer)
            self.heard, self.proof = now, self._asked
            return "heard"
        return "silent" if now - self._asked > SILENCE else None

    def fresh(self) -> bool:
        """Whether the last answer is recent enough to blame a silent worker and not the node."""
        return time.monotonic() - self.heard < 2 * PULSE
