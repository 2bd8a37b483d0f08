"""The end of a run: summary.json, and the final output with rows, failures and advice."""

from __future__ import annotations

import logging
import shlex
import time
from itertools import islice
from pathlib import Path
from typing import Any

from asr_batch.jobs.console.messages import TABLE_ROWS, Messages, counts_line, misplaced_text, plural, program
from asr_batch.jobs.console.progress import hms
from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.dataset.files import write_text
from asr_batch.jobs.dataset.json_files import plain, write_document
from asr_batch.jobs.dataset.summary import STATUS, SUMMARY, Status, Summary
from asr_batch.jobs.dataset.tables import read_rows
from asr_batch.jobs.run.figures import Figures
from asr_batch.jobs.views.row_files import RowFiles
from asr_batch.manifests.survey import Survey
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.pool import Pool

log = logging.getLogger("asr_batch")

NOTES = 5
"""Rows whose notes are shown at the end."""


def record_end(figures: Figures, ending: str, code: int, pool: Pool) -> Summary:
    """Write summary.json and metrics.prom; on a full disk only the message on stderr."""
    from asr_batch.jobs.console.metrics import render  # prometheus_client is slow to import

    root, now = figures.root, time.monotonic()
    figures.nodes = tuple(pool.nodes())
    if figures.run_rows:  # otherwise it may not be loaded
        figures.model = pool.info
    figures.clock.point(now, round(figures.totals.audio_seconds, 3), figures.totals.rows, every=0.0)
    summary = figures.summary(now, code, ending)
    try:
        write_document(root / SUMMARY, summary)
        write_document(root / STATUS, Status.of(summary), durable=False)
        write_text(root / "metrics.prom", render(summary), durable=False)
    except OSError as error:
        log.warning("summary not written: %s", error)
    told = {"ending": ending, "exit_code": code, "rows": plain(summary.rows)}
    log.info("run ended", extra={"data": told})
    return summary


def cut_off(figures: Figures, pool: Pool, stop: StopRequest, messages: Messages) -> None:
    """The end of a run that is stopped at once while its pool starts."""
    messages.complain(summary_text(record_end(figures, "stopped", stop.exit_code or 1, pool)))


def say_end(messages: Messages, root: Path, found: Survey, summary: Summary, files: RowFiles | None) -> None:
    """The final output: a table of rows, the outcome in one sentence, notes, and advice about failures."""
    code = summary.exit_code or 0
    messages.table(*shown_rows(root, found))
    (messages.say if code == 0 else messages.complain)(summary_text(summary))
    if files is not None:
        messages.say(files.text())
    if notes := notes_text(root, found):
        messages.say(notes)
    if code in (3, 4):
        missing = summary.errors.get("not_found", 0)
        advice = misplaced_text(missing, summary.rows.total, found.folder)
        messages.complain("\n".join(filter(None, (failures_text(summary, root), advice))))


def provider_text(wanted: str, model: ModelInfo) -> str:
    """The sentence for a job that ran without the provider that it asked for, else empty."""
    if wanted in ("auto", "cpu") or model.provider != "cpu":
        return ""
    return (
        f"--provider {wanted}: ONNX Runtime has none that works here; the CPU did the work, slower than with "
        "--provider auto."
    )


def ending_text(summary: Summary) -> str:
    """The outcome of the run, in half a sentence."""
    if summary.ending == "finished":
        return "finished" if summary.exit_code != 4 else "finished, but a gate does not hold"
    if summary.ending == "out of time":
        return "out of time; the same command resumes"
    return "stopped; the same command resumes"


def summary_text(summary: Summary) -> str:
    """Contents of the data set, speed of this run, and its outcome."""
    rows, run = summary.rows, summary.run
    head = f"{counts_line(rows)} of {plural(rows.total, 'row')}; {hms(summary.audio_seconds)} of audio"
    if not run.rows and summary.ending == "finished":
        return f"{head}; nothing to do: all rows are done"
    speed = f" at {run.rtfx:.1f}x real time" if run.rtfx >= 0.05 else ""
    return f"{head}{speed}; {ending_text(summary)}"


PASSING = ("fetch_failed", "out_of_memory", "worker_crashed", "timeout", "internal_error")
"""Errors that may not occur again at the next attempt."""

MENDED = ("not_found", "unreadable", "unsupported_codec", "empty_file", "decode_failed")
"""Errors that need a change of the file or path."""


def failures_text(summary: Summary, root: Path) -> str:
    """Reasons of failed and partial rows, gates that do not hold; a command to retry if it can help."""
    lines = []
    errors = summary.errors
    if errors:
        lines.append("Reasons: " + ", ".join(f"{count} {code}" for code, count in errors.items()) + ".")
    only = [f"--only {status}" for status in ("failed", "partial") if getattr(summary.rows, status)]
    command = " ".join([program(), "retry", shlex.quote(str(root)), *only])
    if any(code in PASSING for code in errors):
        lines.append(f"To try them again: `{command}`.")
    elif any(code in MENDED for code in errors):
        lines.append(f"After the files are restored or repaired: `{command}`.")
    lines += [
        f"Gate {gate.name}: {gate.value:g}, limit {gate.limit:g}." for gate in summary.gates if not gate.held
    ]
    return "\n".join(lines)


def notes_text(root: Path, found: Survey) -> str:
    """The notes on the first rows that have any, and how many rows have; empty if none has."""
    noted = (row for row in read_rows(root, ["id", "notes"]) if row.get("notes") and found.has(row["id"]))
    shown = [f"Note on {row['id']}: {'; '.join(row['notes'])}." for row in islice(noted, NOTES)]
    more = sum(1 for _ in noted)
    return "\n".join(shown + [f"... and notes on {plural(more, 'more row')}: column `notes`."] * bool(more))


def shown_rows(root: Path, found: Survey) -> tuple[list[dict[str, Any]], int]:
    """All rows of a small manifest in its order; of a large one the failed and partial rows.

    Returns at most 40 rows, and the number of rows left out.
    """
    columns = ["id", "audio", "status", "error_message", "duration", "text"]
    if found.rows <= TABLE_ROWS:
        rows = {row["id"]: row for row in read_rows(root, columns)}
        return [rows[row_id] for row_id in found.first if row_id in rows], 0
    bad = (row for row in read_rows(root, columns) if row["status"] in ("failed", "partial"))
    wrong = (row for row in bad if found.has(row["id"]))
    shown = list(islice(wrong, TABLE_ROWS))
    return shown, sum(1 for _ in wrong)
