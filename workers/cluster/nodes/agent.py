"""The agent of a node: a small actor that reports facts and heartbeats, and receives models.

It runs no engine, so it answers while the workers are busy, and survives files that crash them.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

from asr_batch.workers import facts, model_folders


class NodeAgent:
    """One per node of a cluster, without CPUs."""

    def __init__(self) -> None:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._incoming: model_folders.Incoming | None = None

    def facts(self) -> facts.NodeFacts:
        """Versions, hardware, state."""
        return facts.gather()

    def pulse(self) -> float | None:
        """Heartbeat: degrees Celsius of the hottest sensor, or None."""
        return facts.temperature()

    def reads(self, path: str) -> bool:
        """Whether the node sees the file or folder `path`."""
        return Path(path).exists()

    def find_model(self, path: str, tree: str) -> str | None:
        """See `model_folders.find`."""
        return model_folders.find(path, tree)

    def begin_model(self, tree: str, size: int) -> None:
        """Prepare to receive a model of `size` bytes. Raises RetryableError when there is no space."""
        self._incoming = model_folders.Incoming(tree, size)

    def take_model(self, name: str, data: Any) -> None:
        """Receive a piece of the model (uint8 array). Raises RetryableError."""
        assert self._incoming is not None
        self._incoming.write(name, data.data)

    def end_model(self) -> str:
        """The verified folder. Raises RetryableError."""
        assert self._incoming is not None
        incoming, self._incoming = self._incoming, None
        return incoming.finish()
