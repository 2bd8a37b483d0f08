"""Converts container time to seconds of the file: keeps late starts and gaps, ignores restarts."""

from __future__ import annotations

from asr_batch.pipeline.audio.decoders.decoder import Damage

JITTER = 0.1
"""Seconds by which a frame may deviate from the end of the previous one and still follow it directly."""

LONGEST_GAP = 3600.0
"""Maximum gap in seconds that is believed if the container's length does not confirm it."""

_RESTART = -1.0  # a larger jump back is a new recording that follows the old one
_UNDONE = 1.0  # tolerance of a jump back that undoes the previous jump: one of the two is wrong
_EXACT = 0.005


class Clock:
    """Places frames one after the other. `zero` is the container's time of the file's second 0.

    `restarts` counts the jumps back, `undone` those that undid the previous jump.
    """

    def __init__(self, zero: float, length: float, damage: Damage) -> None:
        self.position = 0.0
        self.restarts = self.undone = 0
        self._zero, self._length, self._damage = zero, length, damage
        self._gaps: list[tuple[float, float]] = []
        self._jump = 0.0

    def second(self, time: float | None) -> float:
        """The second of the file for a container time; without a time, the current end."""
        return self.position if time is None else max(0.0, time - self._zero)

    def place(self, time: float | None, seconds: float, damaged: bool) -> float:
        """The start of the next frame, `seconds` long; `damaged`: something was lost before it."""
        at = self._believed(time, _EXACT if damaged else JITTER)
        if damaged:
            self._damage.add(self.position, at)
        elif at > self.position:
            self._gaps.append((self.position, at))
        self.position = at + seconds
        return at

    def _believed(self, time: float | None, tolerance: float) -> float:
        if time is None:
            return self.position
        jump = time - self._zero - self.position
        if jump < _RESTART or (jump > LONGEST_GAP and self.position + jump > self._length + 1.0):
            self._zero += jump
            self.restarts += 1
            self.undone += self._jump > _UNDONE and abs(self._jump + jump) < _UNDONE
            return self.position
        if jump <= tolerance:
            return self.position
        self._jump = jump
        return self.position + jump

    def doubt_gaps(self, from_start: bool) -> None:
        """Treat apparent pauses without packets as holes, because the file is damaged.

        `from_start`: also what comes before the first frame.
        """
        for start, end in self._gaps:
            if start or from_start:
                self._damage.add(start, end)

    def lose(self, seconds: float) -> None:
        """Record missing seconds after the last frame that the container's times do not show."""
        self._zero -= seconds
