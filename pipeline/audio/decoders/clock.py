"""Container time to seconds of the file: late starts and gaps are kept, restarts and nonsense are not."""

from __future__ import annotations

from asr_batch.pipeline.audio.decoders.decoder import Damage

JITTER = 0.1
"""Seconds by which a frame may lie beside the end of the one before it and still follow it directly."""

LONGEST_GAP = 3600.0
"""Seconds without packets that are believed where the container's length does not vouch for them."""

_RESTART = -1.0  # a jump back by more is a new recording that follows the old one
_EXACT = 0.005


class Clock:
    """Places frames one after the other. `zero` is the container's time of the file's second 0.

    `damaged`: every gap of this file is a hole.
    """

    def __init__(self, zero: float, length: float, damage: Damage, damaged: bool = False) -> None:
        self.position = 0.0
        self.restarts = 0
        self._zero, self._length, self._damage, self._damaged = zero, length, damage, damaged

    def second(self, time: float | None) -> float:
        """The second of the file that a container's time means; without a time the end of what came."""
        return self.position if time is None else max(0.0, time - self._zero)

    def place(self, time: float | None, seconds: float, damaged: bool) -> float:
        """Where the next frame, `seconds` long, begins; `damaged`: something was lost before it."""
        at = self._believed(time, _EXACT if damaged else JITTER)
        if damaged or (self._damaged and self.position):
            self._damage.add(self.position, at)
        self.position = at + seconds
        return at

    def _believed(self, time: float | None, tolerance: float) -> float:
        if time is None:
            return self.position
        jump = time - self._zero - self.position
        if jump < _RESTART or (jump > LONGEST_GAP and self.position + jump > self._length + 1.0):
            self._zero += jump
            self.restarts += 1
            return self.position
        return self.position + jump if jump > tolerance else self.position

    def lose(self, seconds: float) -> None:
        """So much is missing behind the last frame though the container's times do not tell it."""
        self._zero -= seconds
