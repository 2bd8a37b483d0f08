"""The final output of a run: which rows to show, what failed, and what to do about it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from asr_batch.jobs.console.messages import TABLE_ROWS, counts_line, plural, program
from asr_batch.jobs.console.progress import hms
from asr_batch.jobs.dataset.summary import Summary
from asr_batch.jobs.dataset.tables import read_rows
from asr_batch.jobs.run.driver.loop import Ending
from asr_batch.manifests.survey import Survey


def ending_text(ending: Ending, code: int) -> str:
    """The outcome of the run, in half a sentence."""
    if ending == "finished":
        return "finished" if code != 4 else "finished, but a gate does not hold"
    if ending == "out of time":
        return "out of time; the same command resumes"
    return "stopped; the same command resumes"


def summary_text(summary: Summary, ending: Ending, code: int) -> str:
    """Contents of the data set, speed of this run, and its outcome."""
    rows, run = summary.rows, summary.run
    head = f"{counts_line(rows)} of {plural(rows.total, 'row')}; {hms(summary.audio_seconds)} of audio"
    if not run.rows and ending == "finished":
        return f"{head}; nothing to do: all rows are done"
    speed = f" at {run.rtfx:.1f}x real time" if run.rtfx >= 0.05 else ""
    return f"{head}{speed}; {ending_text(ending, code)}"


PASSING = ("fetch_failed", "out_of_memory", "worker_crashed", "timeout", "internal_error")
"""Errors that may not occur again at the next attempt."""

MENDED = ("not_found", "unreadable", "unsupported_codec", "empty_file", "decode_failed")
"""Errors that need a change of the file or path."""


def failures_text(summary: Summary, root: Path) -> str:
    """Reasons of failed rows and gates that do not hold, with a command to retry if that can help."""
    lines = []
    errors = summary.errors
    if errors:
        lines.append("Reasons: " + ", ".join(f"{count} {code}" for code, count in errors.items()) + ".")
    command = f"{program()} retry {shlex.quote(str(root))} --only failed"
    if any(code in PASSING for code in errors):
        lines.append(f"To try them again: `{command}`.")
    elif any(code in MENDED for code in errors):
        lines.append(f"After the files are restored or repaired: `{command}`.")
    lines += [
        f"Gate {gate.name}: {gate.value:g}, limit {gate.limit:g}." for gate in summary.gates if not gate.held
    ]
    return "\n".join(lines)


def shown_rows(root: Path, found: Survey) -> tuple[list[dict[str, Any]], int]:
    """All rows of a small manifest in its order; of a large one the failed and partial rows.

    Returns at most 40 rows, and the number of rows left out.
    """
    columns = ["id", "audio", "status", "error_message", "duration", "text"]
    if found.rows <= TABLE_ROWS:
        rows = {row["id"]: row for row in read_rows(root, columns)}
        return [rows[row_id] for row_id in found.first if row_id in rows], 0
    wrong = [row for row in read_rows(root, columns) if row["status"] in ("failed", "partial")]
    return wrong[:TABLE_ROWS], len(wrong) - TABLE_ROWS
