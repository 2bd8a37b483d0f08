"""Main module of the child process of :class:`asr_batch.workers.child.pool.ChildPool`.

`python -m asr_batch.workers.child.serve FD`: calls arrive on the socket FD as (method, arguments), and
each gets one answer; "stderr", which a file descriptor follows, gets none. The process ends when the socket
is closed.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

from asr_batch.models.load import FAMILIES
from asr_batch.models.memory import ONE_ARENA, set_malloc
from asr_batch.workers.host import WorkerHost

PR_SET_PDEATHSIG = 1

MALLOC = ONE_ARENA, (-3, 64 << 20), (-1, 32 << 20)
"""Pieces up to 64 MB come from the arena, of which 32 MB are kept free at most: glibc reuses the memory of
each window, where the system would clear returned memory every time.
"""


def serve(descriptor: int) -> None:
    """Answer calls until the other side closes the socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # when to end is the job's decision
    if sys.platform == "linux":  # also in the middle of a file that hangs
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    set_malloc(*MALLOC)
    calls = Connection(descriptor)
    gc.disable()  # modules and models stay; looking through them again and again took a tenth of a second
    import_module(FAMILIES[0])  # most models are Whisper, and no call is waiting yet
    host = WorkerHost(socket.gethostname())
    while True:
        try:
            name, given = calls.recv()
            if name == "stderr":
                _take_stderr(calls)
                continue
            calls.send(getattr(host, name)(*given))
            if name == "load":
                gc.freeze()
                gc.enable()
            else:
                host.tidy()
        except (EOFError, ConnectionError):
            os._exit(0)


def _take_stderr(calls: Connection) -> None:
    try:
        handed = recv_handle(calls)
    except (EOFError, OSError, RuntimeError):  # the other side has closed the socket
        os._exit(0)
    os.dup2(handed, 2)
    os.close(handed)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
