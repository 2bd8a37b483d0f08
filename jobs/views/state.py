"""The state of a job for `status`: committed rows, the running process, units in progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct, field, structs

from asr_batch.jobs.console.messages import counts_line, plural
from asr_batch.jobs.console.progress import hms
from asr_batch.jobs.dataset.job_file import Job, JobModel, load_job, stored_manifest
from asr_batch.jobs.dataset.lock import Holder, held, holder
from asr_batch.jobs.dataset.summary import InFlight, RowCounts, Status, View, find_status
from asr_batch.jobs.dataset.tables import JOB, read_rows
from asr_batch.manifests.errors import ManifestError
from asr_batch.workers.pool import NodeStatus

SHOWN = 10


class Trouble(Struct, frozen=True):
    """A row that failed or is partial; `duration` in seconds."""

    id: str
    status: str
    error_code: str | None
    error_message: str | None
    duration: float | None


class Noted(Struct, frozen=True):
    """A row with notes, which say how it was read or that its language is hardly heard."""

    id: str
    notes: tuple[str, ...]


class JobState(Struct, frozen=True, kw_only=True):
    """The externally visible state; of a new data set without job.json, only the first three fields."""

    dataset: str
    state: str
    held_by: Holder | None = None
    exit_code: int | None = None
    rows: RowCounts = RowCounts()
    errors: dict[str, int] = field(default_factory=dict)
    failed: tuple[Trouble, ...] = ()
    noted: tuple[Noted, ...] = ()
    audio_seconds: float = 0.0
    model: JobModel = JobModel()
    view: View | None = None
    in_flight: tuple[InFlight, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    rtfx: float | None = None


def job_state(root: Path) -> JobState:
    """The state of the data set in `root`. Raises ConfigError if there is none."""
    running, place = held(root), str(root.absolute())
    if running and not (root / JOB).exists():
        return JobState(dataset=place, state="starting", held_by=holder(root))
    job, told = load_job(root), find_status(root) or Status()
    found = JobState(
        dataset=place,
        state="running" if running else _ended(told),
        held_by=holder(root) if running else None,
        exit_code=None if running else told.exit_code,
        model=job.model,
        view=told.view if running else None,
        in_flight=told.in_flight if running else (),
        nodes=told.nodes,
        rtfx=told.rtfx or None,
    )
    return _counted(found, root, job)


def _ended(told: Status) -> str:
    if told.exit_code is None:
        return "interrupted: the process was killed; the same command resumes"
    return told.ending


def _rows(root: Path, job: Job) -> Iterator[dict[str, Any]]:
    """The committed rows of the manifest; all of them if it has lost none, or cannot be read."""
    rows = read_rows(root, (*Trouble.__struct_fields__, "notes"))
    if job.manifest.left:
        with suppress(ManifestError):
            here = {item.id for item in stored_manifest(job).rows()}
            return (row for row in rows if row["id"] in here)
    return rows


def _counted(found: JobState, root: Path, job: Job) -> JobState:
    """The state with the counts of the committed rows."""
    total = job.manifest.rows
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    failed: list[Trouble] = []
    noted: list[Noted] = []
    seconds = 0.0
    for row in _rows(root, job):
        notes = tuple(row.pop("notes", None) or ())
        counts[row["status"]] += 1
        errors.update([row["error_code"]] if row["error_code"] else [])
        seconds += row["duration"] or 0.0
        if row["status"] in ("failed", "partial") and len(failed) < SHOWN:
            failed.append(Trouble(**row))
        if notes and len(noted) < SHOWN:
            noted.append(Noted(row["id"], notes))
    rows = RowCounts(total=total, **counts, pending=max(0, total - counts.total()))
    return structs.replace(
        found,
        rows=rows,
        errors=dict(errors),
        failed=tuple(failed),
        noted=tuple(noted),
        audio_seconds=round(seconds, 3),
    )


def state_lines(found: JobState) -> list[str]:
    """The state as lines of text."""
    lines = [f"{found.dataset}: {found.state}"]
    if found.held_by:
        lines.append(f"held by {found.held_by}")
    if not found.rows.total:
        return lines
    total, audio = plural(found.rows.total, "row"), hms(found.audio_seconds)
    lines.append(f"{counts_line(found.rows)} of {total}; {audio} of audio done")
    if found.view and found.view.rtfx:
        lines.append(f"{found.view.rtfx:.1f}x real time, ETA {hms(found.view.eta)}")
    lines += [f"  in progress: {unit.id} ({unit.seconds:.1f} s)" for unit in found.in_flight[:SHOWN]]
    lines += [f"  {node.node}: {npu_text(node.npu)}" for node in found.nodes if node.npu]
    lines += [f"  {count} {code}" for code, count in sorted(found.errors.items())]
    lines += [f"  {row.status} {row.id}: {row.error_message}" for row in found.failed]
    lines += [f"  note on {row.id}: {'; '.join(row.notes)}" for row in found.noted]
    return lines


def npu_text(npu: Mapping[str, float]) -> str:
    """A node's NPU in one line: windows and temperature."""
    parts = [f"NPU encoded {npu.get('npu_windows', 0):.0f} windows, the CPU {npu.get('cpu_windows', 0):.0f}"]
    if "temperature" in npu:
        parts.append(f"{npu['temperature']:.0f} °C")
    if "clock_mhz" in npu:
        parts.append(f"{npu['clock_mhz']:.0f} MHz")
    troubles = sum(npu.get(name, 0.0) for name in ("retries", "configures", "reopens"))
    if troubles:
        parts.append(f"{troubles:.0f} recoveries")
    if npu.get("quarantined"):
        parts.append("quarantined")
    return ", ".join(parts)
