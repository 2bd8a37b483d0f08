"""Signs of life of a node, asked of its agent without ever waiting for the answer."""

from __future__ import annotations

import time
from typing import Any, Literal

PULSE = 2.0
"""Seconds between two questions."""

SILENCE = 10.0
"""Seconds without an answer after which a node counts as silent."""

Sign = Literal["heard", "silent"] | None
"""What a look brought: an answer, too long a silence, or neither."""


class Pulse:
    """The outstanding question to one node's agent, and what earlier answers prove.

    `heard` is when the last answer came. At `proof` the node is known to have lived: the question that was
    answered last was asked then. `temperature` is its hottest sensor's, in degrees Celsius. Times are
    monotonic seconds.
    """

    def __init__(self, ray: Any, agent: Any) -> None:
        self.heard = self.proof = time.monotonic()
        self.temperature: float | None = None
        self._ray, self._agent = ray, agent
        self._answer: Any = None
        self._asked = 0.0

    def ask(self) -> None:
        """Ask at once, whatever question is open."""
        self._answer, self._asked = self._agent.pulse.remote(), time.monotonic()

    def look(self) -> Sign:
        """Take an answer in, or ask when it is time. Raises RayError when the agent is gone."""
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
        """Whether the node was heard so lately that a worker's silence is the worker's own."""
        return time.monotonic() - self.heard < 2 * PULSE
