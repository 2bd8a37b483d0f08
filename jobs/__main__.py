"""Entry point: `python -m asr_batch.jobs` runs the command `asr-batch`."""

from __future__ import annotations

import logging
import os
import sys

from asr_batch.jobs.cli.main import main

TIDY = ("ray", "hailo_platform")
"""Packages with something to end when Python does."""


def entry() -> None:
    """The command, as a process of its own.

    Nothing is open when a command has ended, so the process ends at once: that Python first takes all its
    modules apart would cost a tenth of a second.
    """
    try:
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
