"""The watchman of a node: a small actor that tells what the node is, that it lives, and takes models in.

It runs no engine, so it answers while the workers are busy, and it survives the files that kill them.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

from asr_batch.workers import facts
from asr_batch.workers import model_folders as models_here


class Sentinel:
    """One per node of a cluster, without CPUs of its own."""

    def __init__(self) -> None:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._incoming: models_here.Incoming | None = None

    def facts(self) -> facts.NodeFacts:
        """Versions, hardware, state."""
        return facts.gather()

    def pulse(self) -> float | None:
        """A sign of life: the temperature of the hottest sensor, if there is one."""
        return facts.temperature()

    def reads(self, path: str) -> bool:
        """Whether a file or folder is to be seen here."""
        return Path(path).exists()

    def find_model(self, path: str, tree: str) -> str | None:
        """See `models_here.find`."""
        return models_here.find(path, tree)

    def begin_model(self, tree: str, size: int) -> None:
        """Make ready for a model. Raises RetryableError when there is no space."""
        self._incoming = models_here.Incoming(tree, size)

    def take_model(self, name: str, data: Any) -> None:
        """A piece of it (uint8 array). Raises RetryableError."""
        assert self._incoming is not None
        self._incoming.write(name, data.data)

    def end_model(self) -> str:
        """The verified folder. Raises RetryableError."""
        assert self._incoming is not None
        incoming, self._incoming = self._incoming, None
        return incoming.finish()
