"""Small plots as inline SVG, 400 units wide; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 400, 180
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24
TICKS = 4
"""About as many lines on an axis."""


def number(value: float) -> str:
    """A number for people: 12,345 · 1.23 · 0.004."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100 or (size >= 10 and float(value).is_integer()):
        return f"{value:,.0f}"
    text = f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def ticks(top: float) -> list[float]:
    """Round tick values from 0 to the first one not below `top`."""
    if top <= 0:
        return [0.0, 1.0]
    step = 10.0 ** math.floor(math.log10(top / TICKS))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if step * factor * TICKS >= top * 0.999)
    return [step * k for k in range(math.ceil(top / step * 0.999) + 1)]


def clock(seconds: float) -> str:
    """A time span on an axis: 40 s, 5 min, 1:30 h."""
    if 0 < seconds < 10:
        return f"{number(round(seconds, 1))} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02} h"


def _svg(height: float, label: str, body: Sequence[str]) -> Markup:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(body) + "</svg>")  # noqa: S704 - every text in it went through escape()


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    attributes = f'class="{kind}" ' if kind else ""
    return f'<text {attributes}x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _y_axis(values: Sequence[float], height: float) -> list[str]:
    drawn = []
    for value in values:
        y = TOP + (1 - value / values[-1]) * height
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(LEFT - 6, y + 4, number(value), "axis", "end"))
    return drawn


def area(points: Sequence[tuple[float, float]], label: str) -> Markup:
    """An area chart; `points` are (seconds, value), ascending."""
    inner = HEIGHT - TOP - BOTTOM
    marks = ticks(max(value for _, value in points))
    first, last = points[0][0], points[-1][0]
    span = (last - first) or 1.0

    def pixel(point: tuple[float, float]) -> str:
        x = LEFT + (point[0] - first) / span * (WIDTH - LEFT - RIGHT)
        return f"{x:.1f},{TOP + (1 - point[1] / marks[-1]) * inner:.1f}"

    line = " ".join(map(pixel, points))
    floor = TOP + inner
    body = _y_axis(marks, inner)
    body.append(f'<polygon class="fill" points="{LEFT},{floor} {line} {WIDTH - RIGHT},{floor}"/>')
    body.append(f'<polyline class="line" points="{line}"/>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        body.append(_text(x, HEIGHT - 6, clock(first + share * span), "axis", anchor))
    return _svg(HEIGHT, label, body)


def columns(counts: Sequence[int], names: Sequence[str], label: str) -> Markup:
    """A histogram; `names` are the bin edges, spread evenly over the axis."""
    inner = HEIGHT - TOP - BOTTOM
    marks = ticks(max(counts))
    wide = (WIDTH - LEFT - RIGHT) / len(counts)
    body = _y_axis(marks, inner)
    for index, count in enumerate(counts):
        tall = count / marks[-1] * inner
        tall = max(tall, 1.5) if count else 0.0
        x, y = LEFT + index * wide + 1, TOP + inner - tall
        what = escape(f"bar {index + 1} of {len(counts)}: {count:,}")
        body.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{wide - 2:.1f}" height="{tall:.1f}" rx="1.5">'
            f"<title>{what}</title></rect>"
        )
    for index, name in enumerate(names):
        share = index / max(1, len(names) - 1)
        anchor = "start" if index == 0 else "end" if index == len(names) - 1 else "middle"
        body.append(_text(LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - 6, name, "axis", anchor))
    return _svg(HEIGHT, label, body)


def bars(lines: Sequence[tuple[str, float, str]], label: str, kind: str = "bar") -> Markup:
    """Horizontal bars, one per line: (name, value, label)."""
    row, left, right = 26, 160, 66
    top = max((value for _, value, _ in lines), default=0.0) or 1.0
    body = []
    for index, (name, value, text) in enumerate(lines):
        y = index * row
        long = max(0.0, value) / top * (WIDTH - left - right)
        long = max(long, 1.5) if value > 0 else 0.0
        body.append(f"<g><title>{escape(name)}: {escape(text)}</title>")
        body.append(_text(left - 8, y + 17, shorten(name, 21), "name", "end"))
        body.append(
            f'<rect class="track" x="{left}" y="{y + 5}" width="{WIDTH - left - right}" height="16" rx="3"/>'
        )
        body.append(f'<rect class="{kind}" x="{left}" y="{y + 5}" width="{long:.1f}" height="16" rx="3"/>')
        body.append(_text(WIDTH - right + 8, y + 17, text, "value"))
        body.append("</g>")
    return _svg(max(row, len(lines) * row), label, body)


def shorten(text: str, limit: int) -> str:
    """`text` shortened to `limit` characters by leaving out the middle."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
