"""The last words of a run: which rows to show, what went wrong, what to do about it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from asr_batch.jobs.console.messages import TABLE_ROWS
from asr_batch.jobs.dataset.tables import open_transcripts
from asr_batch.jobs.run.driver import Ending
from asr_batch.manifests.survey import Survey


def ending_text(ending: Ending, code: int) -> str:
    """How the run ended, in half a sentence."""
    if ending == "finished":
        return "finished" if code != 4 else "finished, but a gate does not hold"
    if ending == "out of time":
        return "out of time; the same command goes on"
    return "stopped; the same command goes on"


def failures_text(summary: dict[str, object], root: Path) -> str:
    """Why rows failed and which gates do not hold, with the command that tries again."""
    lines = []
    errors, gates = summary["errors"], summary["gates"]
    assert isinstance(errors, dict)
    assert isinstance(gates, list)
    if errors:
        lines.append("Reasons: " + ", ".join(f"{count} {code}" for code, count in errors.items()) + ".")
        command = f"asr-batch retry {shlex.quote(str(root))} --only failed"
        lines.append(f"Try them again with `{command}` (or partial).")
    lines += [
        f"Gate {gate['name']}: {gate['value']:g} against a limit of {gate['limit']:g}."
        for gate in gates
        if not gate["held"]
    ]
    return "\n".join(lines)


def shown_rows(root: Path, found: Survey) -> tuple[list[dict[str, Any]], int]:
    """All rows of a small manifest in its order; of a large one those that failed or are partial.

    Returns at most 40 of them, and how many more there are.
    """
    columns = ["id", "audio", "status", "error_message", "duration", "text"]
    if found.rows <= TABLE_ROWS:
        rows = {row["id"]: row for row in open_transcripts(root).to_table(columns=columns).to_pylist()}
        return [rows[row_id] for row_id in found.first if row_id in rows], 0
    wrong = ds.field("status").isin(["failed", "partial"])
    table = open_transcripts(root).scanner(columns=columns, filter=wrong).head(TABLE_ROWS)
    count = open_transcripts(root).count_rows(filter=wrong)
    return table.to_pylist(), count - table.num_rows
