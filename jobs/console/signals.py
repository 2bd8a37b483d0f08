"""SIGINT and SIGTERM: the first asks the job to drain, the second stops it at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn


class StopRequest:
    """Whether, by which signal and how often the job was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.count = 0
        self.starting = False

    @property
    def exit_code(self) -> int | None:
        """130 after SIGINT, 143 after SIGTERM, None when nobody asked."""
        return None if self.signal is None else 128 + self.signal

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal. Nothing is lost by ending at once while starting, or when asked a third time."""
        self.count += 1
        if self.signal is None:
            self.signal = number
        if self.count > (1 if self.starting else 2):
            os._exit(128 + self.signal)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep our handlers while somebody starts who would put its own in their place, as Ray does."""
        real = signal.signal

        def guarded(number: int, handler: Any) -> Any:
            if number in (signal.SIGINT, signal.SIGTERM):
                return signal.getsignal(number)
            return real(number, handler)

        signal.signal = guarded  # type: ignore[assignment]
        self.starting = True
        try:
            yield
        finally:
            self.starting = False
            signal.signal = real


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Collect SIGINT and SIGTERM while the block runs."""
    request = StopRequest()
    before = {number: signal.signal(number, request.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process with `code`; a signal that comes now comes too late to change it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
