"""`report.html`: one page that tells how a job went, and nothing outside it is needed to read it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from asr_batch.jobs.plots import area, bars, columns, number
from asr_batch.jobs.quality import DURATION_NAMES, SLICES
from asr_batch.jobs.report_data import Gathered, NodeSums, confidence, gather
from asr_batch.jobs.snippets import Snippet, snippets
from asr_batch.manifests.errors import ConfigError

BARS = 12
"""Most bars of a plot; of more, those worth seeing are drawn and the number of the others is said."""
POINTS = 120
"""Most points of the throughput plot."""


def write_report(dataset: Path, to: Path | None = None, clips: int = 12) -> Path:
    """Write the report of a data set to `to` (default: report.html in it); returns where it is.

    Raises ConfigError when `dataset` is none or `to` cannot be written.
    """
    path = to or dataset / "report.html"
    page = render(gather(dataset, clips), dataset)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_text(page, encoding="utf-8")
        hidden.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}; give another place with --to") from error
    return path


def render(found: Gathered, dataset: Path) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("asr_batch.jobs", "templates")
    pages = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"number": number, "percent": percent, "span": span, "clock": clock, "marked": marked}
    return pages.get_template("report.html.j2").render(
        name="/".join(dataset.absolute().parts[1:][-2:]),
        command=shlex.quote(str(dataset)),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        found=found,
        summary=found.summary,
        **_head(found),
        plots=_plots(found),
        slices=_slices(found),
        worst=_worst(found),
        mistaken=[{**row, "marks": marks(row["reference"], row["text"] or "")} for row in found.mistaken],
    )


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage that does not round up to 100 or down to 0."""
    if share is None:
        return "-"
    text = f"{share:.{digits}%}"
    if text.startswith("100.") and share < 1:
        text = f"{100 - 10**-digits:.{digits}f}%"
    return text.replace("%", " %")


def span(seconds: float | None) -> str:
    """Seconds as 4.2 s, 3 min 20 s, 5 h 12 min."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600):,} h {int(seconds % 3600 // 60)} min"


def clock(seconds: float) -> str:
    """A place in a file: 1:02:03.4."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def marked(text: str) -> Markup:
    """The text with what stands between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(text)
    tagged = [
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    ]
    return Markup("").join(tagged)


def _head(found: Gathered) -> dict[str, Any]:
    summary = found.summary
    rows = summary.get("rows") or {}
    kept = found.job.get("manifest")
    listed = kept.get("rows") if isinstance(kept, Mapping) else 0
    total = max(rows.get("total") or listed or 0, found.rows)
    statuses = [(name, found.statuses[name]) for name in ("ok", "empty", "partial", "failed")]
    statuses.append(("pending", total - found.rows))
    tone, verdict = _verdict(found, total)
    model = summary.get("model") or found.job.get("model") or {}
    return {
        "total": total,
        "statuses": [(name, count) for name, count in statuses if count],
        "tone": tone,
        "verdict": verdict,
        "model": model if isinstance(model, Mapping) else {"name": str(model)},
        "warning": summary.get("warning") or (model.get("warning") if isinstance(model, Mapping) else None),
        "times": [_time(summary.get(key)) for key in ("started_at", "finished_at")],
        "gates": [_gate(gate) for gate in summary.get("gates") or ()],
        "wer": summary["wer"] if summary.get("wer") is not None else _pooled_wer(found),
    }


def _gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    share = "coverage" in str(gate.get("name"))
    shown = {
        key: percent(gate.get(key), 2) if share else number(gate.get(key) or 0) for key in ("limit", "value")
    }
    sign = "≥" if share else "≤"
    return {"name": str(gate.get("name")).replace("_", " "), "held": gate.get("held"), "sign": sign, **shown}


def _pooled_wer(found: Gathered) -> float | None:
    return found.slices.total.wer if found.slices.total.rows else None


def _time(text: Any) -> str | None:
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M:%S %Z").strip() if text else None
    except ValueError:
        return str(text)


def _verdict(found: Gathered, total: int) -> tuple[str, str]:
    """(good, warn or bad; the sentence at the top)."""
    failed, partial = found.statuses["failed"], found.statuses["partial"]
    broken = [
        str(g.get("name")).replace("_", " ") for g in found.summary.get("gates") or () if not g.get("held")
    ]
    left = total - found.rows
    if left:
        going = (
            "Running" if found.running else "Stopped" if found.summary.get("finished_at") else "Not finished"
        )
        return "warn", f"{going}: {_rows(found.rows)} of {total:,} done, {left:,} to go."
    if broken:
        return "bad", f"Finished, but a gate does not hold: {', '.join(broken)}."
    if failed or partial:
        parts = [f"{_rows(failed)} failed"] * bool(failed)
        parts += [f"{_rows(partial)} only in part"] * bool(partial)
        return ("bad" if failed else "warn"), f"Finished: {' and '.join(parts)}, of {total:,}."
    return "good", f"Finished: {'the' if total == 1 else 'all'} {_rows(total)} complete."


def _rows(count: int) -> str:
    return f"{count:,} row" + ("" if count == 1 else "s")


def _plots(found: Gathered) -> dict[str, Any]:
    return {
        "throughput": _throughput(found),
        "nodes": _nodes(found.nodes),
        "coverage": _counted(found.coverage.names, found.coverage.counts, "Rows by coverage"),
        "confidence": _confidence(found.confidence),
        "durations": _counted(found.durations.names, found.durations.counts, "Rows by length of audio"),
        "errors": _most(found.codes, "Rows by error code", "bar bad"),
        "flags": _most(found.flags, "Windows by flag", "bar warn"),
    }


def _counted(names: Sequence[str], counts: Sequence[int], label: str) -> Any:
    """Bars of the classes from the first to the last that is not empty."""
    filled = [place for place, count in enumerate(counts) if count]
    if not filled:
        return None
    first, last = filled[0], filled[-1] + 1
    return bars([(n, c, f"{c:,}") for n, c in zip(names[first:last], counts[first:last], strict=True)], label)


def _most(counts: Mapping[str, int], label: str, kind: str) -> Any:
    lines = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:BARS]
    return bars([(name, count, f"{count:,}") for name, count in lines], label, kind) if lines else None


def _confidence(counts: Sequence[int]) -> Any:
    if not any(counts):
        return None
    return columns(counts, ["0 %", "25 %", "50 %", "75 %", "100 %"], "Windows by confidence")


def _nodes(nodes: Mapping[str, NodeSums]) -> Any:
    """The slowest nodes first when there are many: they are what one looks for."""
    speeds = [(name, n.audio / n.decode) for name, n in nodes.items() if n.decode > 0]
    lines = sorted(speeds, key=lambda pair: pair[1])[:BARS]
    return (
        bars([(name, speed, f"{number(speed)} ×") for name, speed in lines[::-1]], "RTFx by node")
        if lines
        else None
    )


def _throughput(found: Gathered) -> Any:
    points = rates(cumulative(found))
    return (
        area(points, "Seconds of audio done per second, over the time of the job")
        if len(points) > 1
        else None
    )


def cumulative(found: Gathered) -> list[tuple[float, float]]:
    """(wall seconds, audio seconds done so far): the driver's history, else from when rows were finished."""
    history = [(float(p["t"]), float(p["audio_seconds"])) for p in found.summary.get("history") or ()]
    if len(history) > 3 or not found.finished:
        return [(0.0, 0.0)] * bool(history and history[0][0] > 0) + history
    begin, done = min(found.finished), 0.0
    points = [(0.0, 0.0)]
    for second, milliseconds in sorted(found.finished.items()):
        done += milliseconds / 1000
        points.append((float(second - begin) + 1.0, done))
    return points


def rates(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Audio seconds per second between points, over at most POINTS equal stretches of time."""
    if len(points) < 2:
        return []
    width = max((points[-1][0] - points[0][0]) / POINTS, 1e-9)
    made: list[tuple[float, float]] = []
    before = points[0]
    for point in points[1:]:
        if point[0] - before[0] >= width * 0.999:
            made.append((point[0], max(0.0, point[1] - before[1]) / (point[0] - before[0])))
            before = point
    return [(points[0][0], made[0][1]), *made] if made else []


def _slices(found: Gathered) -> list[dict[str, Any]]:
    """WER by slice: a plot and the numbers behind it, worst first."""
    made = []
    for name in SLICES:
        group = sorted(found.slices.groups[name].items(), key=lambda pair: (-pair[1].wer, pair[0]))
        if name == "duration":
            group.sort(key=lambda pair: DURATION_NAMES.index(pair[0]))
        if group:
            lines = [(value, errors.wer, percent(errors.wer, 2)) for value, errors in group[:BARS]]
            plot = bars(lines, f"WER by {name}")
            made.append({"name": name, "plot": plot, "table": group[:50]})
    return made


def marks(reference: str, text: str, words: int = 80) -> list[tuple[str, str]]:
    """(kind, words) that turn the reference into the text: `same`, `del` or `ins`; the first ones only."""
    expected, said = reference.split()[:words], text.split()[:words]
    keys = [[re.sub(r"\W", "", word).casefold() for word in side] for side in (expected, said)]
    made: list[tuple[str, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if kind == "equal":
            made.append(("same", " ".join(said[c:d])))
            continue
        made += [("del", " ".join(expected[a:b]))] * (b > a) + [("ins", " ".join(said[c:d]))] * (d > c)
    long = len(reference.split()) > words or len(text.split()) > words
    return made + [("same", "…")] * long


def _worst(found: Gathered) -> list[dict[str, Any]]:
    clips: list[Snippet] = snippets(found.worst, found.job)
    return [
        {
            **window,
            "clip": clip,
            "confidence": confidence(window["avg_logprob"]) if window.get("text") else None,
            "missing": sum(part["end"] - part["start"] for part in window.get("uncovered") or ()),
        }
        for window, clip in zip(found.worst, clips, strict=True)
    ]
