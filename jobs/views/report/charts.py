"""The plots of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr_batch.jobs.quality import DURATION_NAMES, SLICES
from asr_batch.jobs.views.report.data import Gathered, NodeSums
from asr_batch.jobs.views.report.svg import area, bars, columns, number
from asr_batch.jobs.views.report.text import percent

BARS = 12
"""Maximum number of bars; of more, the most interesting are drawn and the rest are counted."""
POINTS = 120
"""Maximum number of points of the throughput plot."""


def plots(found: Gathered) -> dict[str, Any]:
    """The plots by the id of their card; None if there is nothing to draw."""
    return {
        "throughput": _throughput(found),
        "nodes": _nodes(found.nodes),
        "coverage": _counted(found.coverage.names, found.coverage.counts, "Rows by coverage"),
        "confidence": _confidence(found.confidence),
        "durations": _counted(found.durations.names, found.durations.counts, "Rows by audio duration"),
        "errors": _most(found.codes, "Rows by error code", "bar bad"),
        "flags": _most(found.flags, "Windows by flag", "bar warn"),
    }


def _counted(names: Sequence[str], counts: Sequence[int], label: str) -> Any:
    """Bars from the first to the last bin that is not empty."""
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
    """RTFx by node; of many nodes, the slowest."""
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
    """(wall seconds, audio seconds done so far), from the driver's history or else from finish times."""
    history = [(point.t, point.audio_seconds) for point in found.summary.history]
    if len(history) > 3 or not found.finished:
        return [(0.0, 0.0)] * bool(history and history[0][0] > 0) + history
    begin, done = min(found.finished), 0.0
    points = [(0.0, 0.0)]
    for second, milliseconds in sorted(found.finished.items()):
        done += milliseconds / 1000
        points.append((float(second - begin) + 1.0, done))
    return points


def rates(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Audio seconds per second, over at most POINTS equal intervals."""
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


def slices(found: Gathered) -> list[dict[str, Any]]:
    """WER by slice, worst first: a plot and its numbers. One value says what the total says."""
    made = []
    for name in SLICES:
        group = sorted(found.slices.groups[name].items(), key=lambda pair: (-pair[1].wer, pair[0]))
        if name == "duration":
            group.sort(key=lambda pair: DURATION_NAMES.index(pair[0]))
        if len(group) > 1:
            lines = [(value, errors.wer, percent(errors.wer)) for value, errors in group[:BARS]]
            plot = bars(lines, f"WER by {name}")
            made.append({"name": name, "plot": plot, "table": group[:50]})
    return made
