"""The checks of `asr-batch doctor`, for this machine and for a cluster."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from asr_batch.models.hailo.doctor import diagnose, tools
from asr_batch.models.kernels import library as kernels
from asr_batch.workers import facts
from asr_batch.workers.cluster import connection, preflight
from asr_batch.workers.cluster.nodes.membership import ClusterNodes
from asr_batch.workers.cluster.nodes.node import Node
from asr_batch.workers.cluster.nodes.preparation import Preparation, Prepared
from asr_batch.workers.pool import WorkerSpec

PACKAGES = ("asr-batch", "ray", "onnxruntime", "numpy", "soundfile", "av", "soxr", "pyarrow", "click")
HOT = 80.0

State = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was checked, its state, and the remedy if there is a problem."""

    name: str
    state: State
    text: str


def here(audio: Sequence[str] = (), bundle: Path | None = None) -> Iterator[Check]:
    """The checks of this machine; `audio`: must be readable; `bundle`: should have a HEF for the NPU."""
    found = facts.gather()
    pages = f"pages of {found.page_size} bytes"
    yield Check("machine", "ok", f"{found.host}: {found.arch}, {found.cores} cores, {pages}")
    yield _python()
    yield from map(_package, PACKAGES)
    yield _kernels()
    yield _memory(found)
    yield _disk(found)
    yield _shm()
    if found.temperature is not None:
        hot = found.temperature >= HOT
        yield Check("temperature", "note" if hot else "ok", f"{found.temperature:.0f} °C" + ", hot" * hot)
    yield from npu(bundle)
    yield from (_audio(path) for path in audio)


def _python() -> Check:
    fits = (3, 11) <= sys.version_info[:2] <= (3, 14)
    text = f"{sys.version.split()[0]} in {sys.prefix}"
    return Check("python", "ok" if fits else "bad", text + ("" if fits else "; 3.11 to 3.14 are supported"))


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "bad", f"not installed; `pip install {name}` into {sys.prefix}")


def _kernels() -> Check:
    chosen = kernels.in_use()
    if chosen != kernels.NUMPY:
        return Check("kernels", "ok", f"{chosen.name}, in use")
    why = kernels.why_numpy() or "ASR_BATCH_KERNELS is none"
    return Check("kernels", "note", f"not in use: {why}; numpy writes the same texts in nine times the time")


def _memory(found: facts.NodeFacts) -> Check:
    text = f"{found.memory_free >> 20} of {found.memory_total >> 20} MiB free"
    tight = found.memory_free < 1 << 30
    advice = "; a worker needs 0.5 to 1 GiB" if tight else ""
    return Check("memory", "note" if tight else "ok", text + advice)


def _disk(found: facts.NodeFacts) -> Check:
    temp = facts.disk_free(Path(tempfile.gettempdir()))
    text = f"{found.disk_free >> 20} MiB free for models, {temp >> 20} MiB in {tempfile.gettempdir()}"
    tight = min(found.disk_free, temp) < 1 << 30
    return Check("disk", "note" if tight else "ok", text)


def _shm() -> Check:
    free = connection.shm_free()
    if free < 2 * connection.OBJECT_STORE_BYTES:
        return Check("shared memory", "note", f"{free >> 20} MiB in /dev/shm; Ray uses the disk instead")
    return Check("shared memory", "ok", f"{free >> 20} MiB in /dev/shm")


STATES: dict[str, State] = {"ok": "ok", "skipped": "ok", "warning": "note", "failed": "bad"}


def npu(bundle: Path | None = None) -> Iterator[Check]:
    """The checks of the NPU; one line if there is none."""
    findings = diagnose(bundle)
    if findings[0].name != "NPU":  # a device or its software exists
        findings += tools()
    for finding in findings:
        name = finding.name if finding.name == "NPU" else f"NPU: {finding.name}"
        text = finding.result + (f"; {finding.remedy}" if finding.remedy else "")
        yield Check(name, STATES[finding.state], text)


def _audio(path: str) -> Check:
    target = Path(path)
    if target.is_dir() and os.access(target, os.R_OK | os.X_OK):
        count = sum(1 for _ in target.iterdir())
        return Check(path, "ok", f"folder with {count} entries")
    if not target.exists():
        return Check(path, "bad", "does not exist on this machine")
    if not os.access(target, os.R_OK):
        return Check(path, "bad", "not readable for this user")
    return Check(path, "ok", f"readable, {target.stat().st_size} bytes")


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node of the table: its facts, whether it would be used, and which paths it sees."""

    name: str
    address: str
    fits: bool
    note: str
    facts: facts.NodeFacts | None
    workers: int
    audio: tuple[bool, ...]


def cluster_nodes(address: str, audio: Sequence[str] = (), insecure: bool = False) -> list[NodeLine]:
    """Probe every node of the cluster as a job would, without a model. Raises ConfigError."""
    joined = connection.join(preflight.check(address, insecure))
    with closing(joined), tempfile.TemporaryDirectory() as empty:
        nodes = ClusterNodes(joined.ray, Preparation(joined.ray, WorkerSpec(empty)))
        nodes.prepare_all()
        lines = [_line(joined.ray, node, nodes.answer(node), audio) for node in nodes]
    return sorted(lines, key=lambda line: line.name)


def _line(ray: Any, node: Node, answer: Prepared, audio: Sequence[str]) -> NodeLine:
    ready, idle_head = node.state == "ready", node.machine.cpus == 0
    sees = ray.get([answer.agent.reads.remote(path) for path in audio]) if ready else ()
    return NodeLine(
        node.name,
        node.machine.address,
        ready or idle_head,
        node.note,
        answer.facts,
        node.setup.workers if node.setup is not None else 0,
        tuple(sees),
    )


def summary(line: NodeLine) -> str:
    """One line about a node that answered."""
    found = line.facts
    if found is None:
        return line.note
    heat = f", {found.temperature:.0f} °C" if found.temperature is not None else ""
    parts = [
        f"Python {found.python}, Ray {found.ray}, asr-batch {found.asr_batch}",
        f"ONNX Runtime {found.onnxruntime}",
        f"{found.arch}, {found.cores} cores, {sizing_text(found)}{heat}",
        f"HailoRT {found.hailort or '-'}, NPU {', '.join(found.npu) or '-'}",
    ]
    return "; ".join(parts + ([line.note] if line.note else []))


def sizing_text(found: facts.NodeFacts) -> str:
    """Memory and disk of a node."""
    return f"{found.memory_free >> 20} MiB of memory and {found.disk_free >> 20} MiB of disk free"
