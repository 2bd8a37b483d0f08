"""`report.html`: one self-contained page about a job."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asr_batch.jobs.dataset.summary import Gate
from asr_batch.jobs.views.report.charts import plots, slices
from asr_batch.jobs.views.report.data import Gathered, gather
from asr_batch.jobs.views.report.listening import confidence
from asr_batch.jobs.views.report.snippets import Snippet, snippets
from asr_batch.jobs.views.report.svg import number
from asr_batch.jobs.views.report.text import clock, marked, marks, percent, span
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.replacing import replacing


def write_report(dataset: Path, to: Path | None = None, clips: int = 12) -> Path:
    """Write the report of a data set to `to` (default: report.html in it); returns its path.

    Raises ConfigError when `dataset` is not a data set or `to` cannot be written.
    """
    path = to or dataset / "report.html"
    page = render(gather(dataset, clips), dataset)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as hidden:
            hidden.write_text(page, encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"{path} cannot be written ({why}); choose another path with --to") from error
    return path


def render(found: Gathered, dataset: Path) -> str:
    """Render the page."""
    from jinja2 import Environment, PackageLoader  # for reports only

    loader = PackageLoader("asr_batch.jobs.views.report", "templates")
    pages = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"number": number, "percent": percent, "span": span, "clock": clock, "marked": marked}
    return pages.get_template("report.html.j2").render(
        name="/".join(dataset.absolute().parts[1:][-2:]),
        command=shlex.quote(str(dataset)),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        found=found,
        summary=found.summary,
        **_head(found),
        plots=plots(found),
        slices=slices(found),
        heard=sorted(((t, h) for t, h in found.terms.items() if h.count), key=lambda pair: -pair[1].count),
        unheard=[term for term, heard in found.terms.items() if not heard.count],
        worst=_worst(found),
        mistaken=[{**row, "marks": marks(row["reference"], row["text"] or "")} for row in found.mistaken],
    )


def _head(found: Gathered) -> dict[str, Any]:
    summary = found.summary
    total = max(summary.rows.total or found.job.manifest.rows, found.rows)
    statuses = [(name, found.statuses[name]) for name in ("ok", "empty", "partial", "failed")]
    statuses.append(("pending", total - found.rows))
    tone, verdict = _verdict(found, total)
    return {
        "total": total,
        "statuses": [(name, count) for name, count in statuses if count],
        "tone": tone,
        "verdict": verdict,
        "model": summary.model if summary.model.name else found.job.model,
        "warning": summary.model.warning,
        "times": [_time(summary.started_at), _time(summary.finished_at)],
        "gates": [_gate(gate) for gate in summary.gates],
        "wer": found.slices.total.wer if found.slices.total.rows else None,
    }


def _gate(gate: Gate) -> dict[str, Any]:
    share = "coverage" in gate.name
    limit, value = (percent(n, 2) if share else number(n) for n in (gate.limit, gate.value))
    name, sign = gate.name.replace("_", " "), "≥" if share else "≤"
    return {"name": name, "held": gate.held, "sign": sign, "limit": limit, "value": value}


def _time(text: str | None) -> str | None:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S %Z").strip() if text else None
    except ValueError:
        return text


def _verdict(found: Gathered, total: int) -> tuple[str, str]:
    """The tone (good, warn or bad) and the sentence at the top."""
    failed, partial = found.statuses["failed"], found.statuses["partial"]
    broken = [gate.name.replace("_", " ") for gate in found.summary.gates if not gate.held]
    left = total - found.rows
    if left:
        going = "Running" if found.running else "Stopped" if found.summary.finished_at else "Not finished"
        return "warn", f"{going}: {_rows(found.rows)} of {total:,} done, {left:,} to go."
    if broken:
        return "bad", f"Finished, but a gate does not hold: {', '.join(broken)}."
    if failed or partial:
        parts = [f"{failed:,} failed"] * bool(failed) + [f"{partial:,} partial"] * bool(partial)
        return ("bad" if failed else "warn"), f"Finished: {_rows(total)}, {' and '.join(parts)}."
    return "good", f"Finished: {'the' if total == 1 else 'all'} {_rows(total)} complete."


def _rows(count: int) -> str:
    return f"{count:,} row" + ("" if count == 1 else "s")


def _worst(found: Gathered) -> list[dict[str, Any]]:
    clips: list[Snippet] = snippets(found.worst, found.job)
    return [
        {
            **window,
            "clip": clip,
            "confidence": confidence(window["avg_logprob"]) if window.get("text") else None,
            "left_out": [h["text"] for h in window.get("hypotheses") or () if h["source"] == "left out"],
            "missing": sum(part["end"] - part["start"] for part in window.get("uncovered") or ()),
        }
        for window, clip in zip(found.worst, clips, strict=True)
    ]
