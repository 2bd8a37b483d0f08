"""What Ray's exceptions mean for the units that were with the actor (measured: docs/cluster.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an actor is gone; `suspect_node`: do not use its node before it has answered again."""

    reason: Literal["crashed", "out_of_memory", "node_lost", "worker_fatal"]
    culpable: bool
    suspect_node: bool
    message: str


def judge(error: BaseException, exceptions: Any) -> Verdict:
    """Classify an exception of `ray.get` (`exceptions` is the module ray.exceptions)."""
    text = _sentence(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return Verdict("out_of_memory", True, False, "Ray's memory monitor ended the worker: memory ran out")
    if isinstance(error, exceptions.ActorUnavailableError):
        return Verdict("node_lost", False, True, f"the worker cannot be reached: {text}")
    if isinstance(error, exceptions.ActorDiedError):
        if getattr(error, "actor_init_failed", False):
            return Verdict("worker_fatal", False, False, f"the worker could not start: {text}")
        if "node has died" in str(error) or "node is dead" in str(error):
            return Verdict("node_lost", False, True, "the node was lost")
        return Verdict("crashed", True, False, f"the worker's process died: {text}")
    if isinstance(error, exceptions.RayTaskError):
        return Verdict("crashed", True, False, f"the worker failed: {text}")
    return Verdict("crashed", False, False, f"{type(error).__name__}: {text}")


def _sentence(error: BaseException) -> str:
    """The telling part of Ray's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "exit type" in line.lower() or "exit detail" in line.lower()]
    missing = [line for line in lines if "ModuleNotFoundError" in line]
    line = (missing or telling or lines or [type(error).__name__])[-1]
    return line.partition("Worker exit detail: ")[2].partition(" Some common causes")[0] or line[:300]
