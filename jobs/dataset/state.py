"""The state of a job for `status`: committed rows, the running process, units in progress."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from asr_batch.jobs.console.messages import counts_line, plural
from asr_batch.jobs.console.progress import hms
from asr_batch.jobs.dataset.lock import held, holder
from asr_batch.jobs.dataset.tables import JOB, load_job, load_status, read_rows

SHOWN = 10


def job_state(root: Path) -> dict[str, Any]:
    """The state of the data set. Raises ConfigError if there is none."""
    if not (root / JOB).exists() and held(root):
        return {"dataset": str(root.absolute()), "state": "starting", "held_by": holder(root)}
    job, told = load_job(root), load_status(root)
    columns = ["id", "status", "error_code", "error_message", "duration"]
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    failed: list[dict[str, Any]] = []
    seconds = 0.0
    for row in read_rows(root, columns):
        counts[row["status"]] += 1
        errors.update([row["error_code"]] if row["error_code"] else [])
        seconds += row["duration"] or 0.0
        if row["status"] in ("failed", "partial") and len(failed) < SHOWN:
            failed.append(row)
    running = held(root)
    total = int(job["manifest"]["rows"])
    return {
        "dataset": str(root.absolute()),
        "state": "running" if running else _ended(told),
        "held_by": holder(root) if running else None,
        "exit_code": None if running else told.get("exit_code"),
        "rows": {"total": total, **counts, "pending": max(0, total - sum(counts.values()))},
        "errors": dict(errors),
        "failed": failed,
        "audio_seconds": round(seconds, 3),
        "model": job["model"],
        "view": told.get("view") if running else None,
        "in_flight": told.get("in_flight", []) if running else [],
        "nodes": told.get("nodes", []),
        "rtfx": told.get("rtfx"),
    }


def _ended(told: dict[str, Any]) -> str:
    if told.get("exit_code") is None:
        return "interrupted: the process was killed; the same command resumes"
    return str(told.get("ending"))


def state_lines(found: dict[str, Any]) -> list[str]:
    """The state as lines of text."""
    lines = [f"{found['dataset']}: {found['state']}"]
    if found["held_by"]:
        who = found["held_by"]
        lines.append(f"held by process {who.get('pid')} on {who.get('host')} since {who.get('since')}")
    if "rows" not in found:
        return lines
    rows, view = found["rows"], found["view"] or {}
    total, audio = plural(rows["total"], "row"), hms(found["audio_seconds"])
    lines.append(f"{counts_line(rows)} of {total}; {audio} of audio done")
    if view.get("rtfx"):
        lines.append(f"{view['rtfx']:.1f}x real time, ETA {hms(view['eta'])}")
    lines += [f"  in progress: {unit['id']} ({unit['seconds']:.1f} s)" for unit in found["in_flight"][:SHOWN]]
    lines += [f"  {node['node']}: {npu_text(node['npu'])}" for node in found["nodes"] if node.get("npu")]
    for code, count in sorted(found["errors"].items()):
        lines.append(f"  {count} {code}")
    lines += [f"  {row['status']} {row['id']}: {row['error_message']}" for row in found["failed"]]
    return lines


def npu_text(npu: dict[str, float]) -> str:
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
