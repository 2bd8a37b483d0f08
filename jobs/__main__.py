"""Entry point: `python -m asr_batch.jobs` runs the command `asr-batch`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_batch.jobs.console.signals import leave_on_ctrl_c, signals_blocked
from asr_batch.manifests.environment import one_allocator, one_blas_thread
from asr_batch.models.memory import ONE_ARENA, set_malloc
from asr_batch.workers.child import process

TIDY = ("ray", "hailo_platform")
"""Packages with something to end when Python does."""


ELSEWHERE = ("--no-ray", "--workers", "--address", "--help", "-h")
"""Options of a run that needs no process of its own."""


def begins_alone(arguments: Sequence[str]) -> bool:
    """Whether they start a new job that will probably have its worker in a child process.

    That process then starts before this one loads its own modules. A guess: whoever does not need it ends it.
    """
    names = [word.partition("=")[0] for word in arguments]
    if names[:1] != ["run"] or "--out" not in names or any(name in ELSEWHERE for name in names):
        return False
    place = names.index("--out")
    following = arguments[place + 1 : place + 2]
    out = arguments[place].partition("=")[2] or (following[0] if following else "")
    return bool(out) and not (Path(out) / "job.json").exists()


def open_streams() -> None:
    """Open what whoever started us has closed: else files of the job would get the numbers of streams."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def entry() -> None:
    """The command, as a process of its own.

    Nothing is open when a command has ended, so the process ends at once: that Python first takes all its
    modules apart would cost a tenth of a second.
    """
    open_streams()
    leave_on_ctrl_c()
    runs = sys.argv[1:2] == ["run"]
    if runs:
        one_blas_thread()
        one_allocator()
    if begins_alone(sys.argv[1:]):
        with signals_blocked():  # the process inherits it, until it has a say of its own
            process.prepare()
    if runs:
        set_malloc(ONE_ARENA)
    try:
        from asr_batch.jobs.cli.main import main  # while the process starts

        main()
    except SystemExit as end:
        if not isinstance(end.code, int) or any(name in sys.modules for name in TIDY):
            raise
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # nobody reads any more: Python has its own way to say so
            raise end from None
        logging.shutdown()
        os._exit(end.code)


if __name__ == "__main__":
    entry()
