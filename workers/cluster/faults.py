"""Classifies Ray's exceptions, for the units of an actor and for a node in preparation.

Ray's behaviour for each fault was measured; see docs/cluster.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asr_batch.manifests.errors import RetryableError
from asr_batch.workers.pool import LostReason


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an actor is gone.

    `culpable` as in `pool.UnitsLost`; `suspect_node`: start nothing on its node until it has answered.
    """

    reason: LostReason
    culpable: bool
    suspect_node: bool
    message: str


def fault_of(error: BaseException, exceptions: Any) -> Fault:
    """Classify an exception of `ray.get` (`exceptions` is the module ray.exceptions)."""
    text = _telling_part(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return Fault("out_of_memory", True, False, "Ray's memory monitor ended the worker: memory ran out")
    if isinstance(error, exceptions.ActorUnavailableError):
        return Fault("node_lost", False, True, f"the worker cannot be reached: {text}")
    if isinstance(error, exceptions.ActorDiedError):
        if getattr(error, "actor_init_failed", False):
            return Fault("worker_fatal", False, False, f"the worker could not start: {text}")
        if "node has died" in str(error) or "node is dead" in str(error):
            return Fault("node_lost", False, True, "the node was lost")
        return Fault("crashed", True, False, f"the worker process died: {text}")
    if isinstance(error, exceptions.RayTaskError):
        return Fault("crashed", True, False, f"the worker failed: {text}")
    return Fault("crashed", False, False, f"{type(error).__name__}: {text}")


def passes(error: BaseException, exceptions: Any) -> bool:
    """Whether a node that could not be prepared is worth another try: its agent died or was cut off."""
    if isinstance(error, exceptions.ActorUnavailableError):
        return True
    permanent = getattr(error, "actor_init_failed", False) or "ModuleNotFoundError" in str(error)
    return isinstance(error, exceptions.ActorDiedError) and not permanent


def why_not_prepared(error: BaseException, answer: float) -> str:
    """One sentence about why a node could not be prepared; `answer`: time limit of an answer in s."""
    if isinstance(error, RetryableError):
        return str(getattr(error, "cause", error))
    text = str(error)
    if "ModuleNotFoundError" in text and "asr_batch" in text:
        return "asr-batch is not installed in the Python that runs Ray there"
    if type(error).__name__ == "OutOfMemoryError":
        return "it ran out of memory, and Ray ended the agent of asr-batch"
    if type(error).__name__ == "GetTimeoutError":
        return f"did not answer within {answer:.0f} s"
    lines = _lines(error)
    return lines[-1][:200] if lines else type(error).__name__


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]


def _telling_part(error: BaseException) -> str:
    """The informative part of Ray's long messages."""
    lines = _lines(error)
    telling = [line for line in lines if "exit type" in line.lower() or "exit detail" in line.lower()]
    missing = [line for line in lines if "ModuleNotFoundError" in line]
    line = (missing or telling or lines or [type(error).__name__])[-1]
    return line.partition("Worker exit detail: ")[2].partition(" Some common causes")[0] or line[:300]
