"""SIGINT and SIGTERM: the first asks the job to drain, the second stops it at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class StopRequest:
    """Whether, by which signal and how often the job was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.count = 0

    @property
    def exit_code(self) -> int | None:
        """130 after SIGINT, 143 after SIGTERM, None when nobody asked."""
        return None if self.signal is None else 128 + self.signal

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal."""
        self.count += 1
        if self.signal is None:
            self.signal = number


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
