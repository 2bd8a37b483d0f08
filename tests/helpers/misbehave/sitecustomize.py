"""Rows that misbehave by their id, in any Python that has this folder on PYTHONPATH.

The engine itself is the real one: when a row `crash-…`, `hang-…` or `eat-…` is among those that it decodes,
the process dies, stands still, or takes memory without end. MEMORY_FREE is what the machine claims to have
free, PAUSE how many seconds each step of the engine takes longer.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib.util import find_spec


def misbehave(name):
    if name.startswith("crash-"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("hang-"):
        time.sleep(3600)
    if name.startswith("eat-"):
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * (1 << 20)) * 32)
            time.sleep(0.01)


def spoil_transcribe(module):
    kept = module.Transcriber.advance

    def advance(self, seconds):
        for unit in self.open_units():
            misbehave(unit.item.id)
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return kept(self, seconds)

    module.Transcriber.advance = advance


def spoil_memory(module):
    if "MEMORY_FREE" in os.environ:
        module.free_memory = lambda: int(os.environ["MEMORY_FREE"])


SPOILED = {"asr_batch.pipeline.transcribe": spoil_transcribe, "asr_batch.models.memory": spoil_memory}


class Spoiler:
    """Finds a module as the others do, and changes it once it is there."""

    def find_spec(self, name, path=None, target=None):
        spoil = SPOILED.pop(name, None)
        spec = find_spec(name) if spoil else None
        if spec is None:
            return None
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), spoil(module))
        return spec


sys.meta_path.insert(0, Spoiler())
