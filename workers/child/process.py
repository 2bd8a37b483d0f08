"""Starts, calls and ends the child process of a worker. Imports only modules that load quickly.

`prepare` starts a process while this program still loads its own modules; the pool calls `take` to use it.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)

_spare: list[Child] = []


def prepare() -> None:
    """Start a process that loads its modules and waits for `take`."""
    try:
        _spare.append(Child())
    except OSError:  # of the pool's own start, then with words
        log.debug("no process could be started ahead", exc_info=True)


def prepared() -> bool:
    """Whether a process waits to be taken."""
    return bool(_spare)


def load_ahead(spec: Any, maker: str, share: int) -> None:
    """Have the prepared process load the model for the pool that will ask for it, if it loads none yet."""
    if _spare and _spare[-1].loads is None:
        _spare[-1].load(spec, maker, share)


def take(spec: Any, maker: str, share: int) -> Child:
    """The process that was prepared, or a new one, whose first answer is what loading the model brought.

    `spec`, `maker` and `share` are those of `workers.host.WorkerHost.load`.
    """
    if _spare and _spare[-1].loads not in (None, (spec, maker)):
        discard()
    child = _spare.pop() if _spare else Child()
    if child.loads is None:
        child.hand_stderr()
        child.load(spec, maker, share)
    return child


def discard() -> None:
    """End a prepared process that is not needed."""
    while _spare:
        _spare.pop().end()


class Child:
    """A child process; it takes one call at a time and returns one answer.

    It has the standard error of the start of this process until it is given another one.
    """

    def __init__(self) -> None:
        mine, its = socket.socketpair()
        command = [sys.executable, "-P", "-m", "asr_batch.workers.child.serve", str(its.fileno())]
        quiet = subprocess.DEVNULL
        with its:
            self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, pass_fds=[its.fileno()])
        self._mine = mine
        self.called: float | None = None
        self.loads: tuple[Any, str] | None = None
        self._handed = False

    @cached_property
    def _calls(self) -> Connection:
        from multiprocessing.connection import Connection  # takes longer than the start of the process

        return Connection(self._mine.detach())

    def load(self, spec: Any, maker: str, share: int) -> None:
        """Its first call."""
        self.loads = spec, maker
        self.call("load", spec, maker, share)

    def hand_stderr(self) -> None:
        """Give it the standard error that this process has now, once; no call may be running."""
        from multiprocessing.reduction import send_handle  # takes as long

        if self._handed:
            return
        self._handed = True
        try:
            self._calls.send(("stderr", ()))
            send_handle(self._calls, 2, self.pid)
        except OSError:
            log.debug("process %d has ended", self.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def call(self, name: str, *given: Any) -> None:
        """Send a call. If the process has died, `answer` raises the error."""
        self.called = time.monotonic()
        try:
            self._calls.send((name, given))
        except OSError:
            log.debug("process %d does not accept calls", self.pid)

    def answered(self, timeout: float) -> bool:
        """Whether an answer, or the end of the process, arrives within `timeout` seconds."""
        return self._calls.poll(timeout)

    def answer(self) -> Any:
        """The answer. Raises EOFError if the process has died."""
        try:
            found = self._calls.recv()
        except OSError as error:
            raise EOFError from error
        self.called = None
        return found

    def fate(self) -> str:
        """How the process ended, after its end of the socket has closed."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it no longer answers"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Kill the process if it is running."""
        self._calls.close()
        self._process.kill()
        self._process.wait()
