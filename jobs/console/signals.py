"""SIGINT, SIGTERM and SIGHUP: the first drains the job, the second stops it immediately.

SIGHUP arrives when a terminal or connection closes; if it is ignored, as under nohup, it stays ignored.

The signals are blocked in all threads of a running job, and one thread waits for them. A handler would not
work: Ray's native code replaces it during start-up (with one that aborts the process after three seconds),
and with the system's default during shutdown. See sigwait(3) and pthread_sigmask(3).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


LAST_SECONDS = 5.0
"""Seconds for what is left to do before the process ends at once."""


def heard() -> tuple[signal.Signals, ...]:
    """The signals that stop a job; without SIGHUP if it was ignored when the process started."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return SIGNALS[:2] if ignored else SIGNALS


class StopRequest:
    """Whether, by which signal and how often the job was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.count = 0
        self.last_words: Callable[[], None] = lambda: None
        self.while_starting: Callable[[], None] | None = None
        """What is done before the process ends at once, and instead of it during start-up."""
        self._starting = self._raising = False

    @property
    def exit_code(self) -> int | None:
        """130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP, None without a request."""
        return None if self.signal is None else 128 + self.signal

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Record a signal. Ends the process during start-up and at the third request.

        Raises KeyboardInterrupt where `interruptible` says so.
        """
        self.count += 1
        if self.signal is None:
            self.signal = number
        if self.count > (1 if self._starting else 2):
            words = (self._starting and self.while_starting) or self.last_words
            last = Thread(target=words, name="last words", daemon=True)
            last.start()
            last.join(LAST_SECONDS)
            os._exit(128 + self.signal)
        if self._raising and current_thread() is main_thread():
            self._raising = False
            raise KeyboardInterrupt

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Mark a time, in the main thread, when nothing is lost: a signal raises KeyboardInterrupt there."""
        if self.count:
            raise KeyboardInterrupt
        self._raising = True
        try:
            with signals_for_children():  # the handler runs in this thread, instead of the one that listens
                yield
        finally:
            self._raising = False

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Mark start-up, when there is no work to lose: a second signal ends the process."""
        self._starting = True
        try:
            yield
        finally:
            self._starting = False


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the signals in this thread, and in threads that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_for_children() -> Iterator[None]:
    """Start a child process that signals can end, although it inherits the parent thread's mask."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, heard())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Collect the signals while the block runs.

    A thread that a library started earlier, with signals unblocked, may still receive one; the handler
    covers that.
    """
    request = StopRequest()
    before = {number: signal.signal(number, request.ask) for number in heard()}
    listener = _Listener(request)
    with signals_blocked():
        listener.start()
        try:
            yield request
        finally:
            listener.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


class _Listener(Thread):
    """Waits for the signals that all other threads block."""

    def __init__(self, request: StopRequest) -> None:
        super().__init__(name="signals", daemon=True)
        self._request, self._heard, self._ended = request, heard(), False

    def run(self) -> None:
        """Pass on each signal until stopped."""
        while True:
            number = signal.sigwait(self._heard)
            if self._ended:
                return
            self._request.ask(number)

    def stop(self) -> None:
        """End the thread."""
        self._ended = True
        assert self.ident is not None
        signal.pthread_kill(self.ident, signal.SIGTERM)
        self.join()


def leave_on_ctrl_c() -> None:
    """Let Ctrl-C end a command that does not listen itself, with its exit code and no traceback."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _left)


def _left(number: int, _: FrameType | None) -> NoReturn:
    os.write(2, b"asr-batch: stopped\n")
    leave(128 + number)


def leave(code: int) -> NoReturn:
    """End the process with `code`; later signals cannot change it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
