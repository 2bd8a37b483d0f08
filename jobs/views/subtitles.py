"""Subtitles from a transcript row: at most two lines of 42 columns, shown long enough to be read.

The limits are those of broadcasters (BBC and Netflix timed-text guides): 42 columns, 2 lines, about 17
characters per second, 1 to 7 seconds. Dynamic programming over all possible cuts of a stretch of speech
places cue ends at sentences and pauses where the limits leave a choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any

from asr_batch.jobs.views.segment_words import by_segment
from asr_batch.jobs.views.timed_text import CLAUSE_END, LINE, SENTENCE_END, Token, display_width, tokens

SPEED = 17.0
"""Comfortable reading speed in columns per second."""
SHORTEST, LONGEST = 1.0, 7.0
PAUSE = 1.0
"""Silence in seconds that no cue spans."""
LEAD, TAIL, GAP = 0.5, 1.5, 0.08
"""Seconds by which a cue may precede or outlast its speech, and the gap between two cues."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: times in seconds, one or two lines, and its channel if the row has several."""

    start: float
    end: float
    lines: tuple[str, ...]
    channel: int | None = None

    @property
    def columns(self) -> int:
        """Columns of text to read."""
        return sum(map(display_width, self.lines)) + len(self.lines) - 1

    @property
    def speed(self) -> float:
        """Columns per second."""
        return self.columns / (self.end - self.start)


def cues(row: Mapping[str, Any]) -> list[Cue]:
    """The subtitles of a transcript row (`segments`, `words`, `text`, `duration`), by start."""
    segments = [s for s in row.get("segments") or () if (s["text"] or "").strip()]
    if not segments and (row.get("text") or "").strip():
        segments = [{"start": 0.0, "end": row.get("duration") or 0.0, "text": row["text"], "channel": -1}]
    channels = sorted({segment["channel"] for segment in segments})
    spoken = by_segment(segments, row.get("words"))
    made: list[Cue] = []
    for channel in channels:
        part = sorted((s for s in spoken if s[0]["channel"] == channel), key=lambda s: float(s[0]["start"]))
        shown = channel if len(channels) > 1 else None
        made += timed(_layouts(part, shown), _limit(row, segments))
    return sorted(made, key=lambda cue: cue.start)


def _limit(row: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> float:
    """Latest time at which anything is shown: the end of the audio, if known."""
    last = max((float(segment["end"]) for segment in segments), default=0.0)
    return max(last, float(row.get("duration") or 0.0))


def _layouts(
    segments: Iterable[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]] | None]], channel: int | None
) -> Iterator[Cue]:
    """Cues before retiming: each from the start of its first word to the end of its last."""
    every = [token for segment, words in segments for token in tokens(segment, words or ())]
    for run in runs(every):
        line = LINE - len(prefix(channel))
        for part in cut(run, line):
            yield Cue(part[0].start, max(token.end for token in part), layout(part, line), channel)


def prefix(channel: int | None) -> str:
    """The channel prefix of a cue in a format without speaker tags."""
    return "" if channel is None else f"[{channel}] "


def runs(every: Sequence[Token]) -> Iterator[list[Token]]:
    """Stretches of speech without a pause."""
    number = 0
    marks = [0]
    for before, after in pairwise(every):
        number += after.start - before.end >= PAUSE
        marks.append(number)
    for _, group in groupby(zip(marks, every, strict=False), key=lambda pair: pair[0]):
        yield [token for _, token in group]


def cut(run: Sequence[Token], line: int = LINE) -> list[Sequence[Token]]:
    """Cut a stretch into the cheapest sequence of cues, each at most two lines of `line` columns."""
    reach, costs = _reach(run, line), _Costs(run)
    best = [0.0] + [float("inf")] * len(run)
    came = [0] * (len(run) + 1)
    for i in range(len(run)):
        for j in range(i + 1, _furthest(reach, i) + 1):
            cost = best[i] + costs.cue(i, j)
            if cost < best[j]:
                best[j], came[j] = cost, i
    borders = [len(run)]
    while borders[-1]:
        borders.append(came[borders[-1]])
    return [run[i:j] for j, i in pairwise(borders)][::-1]


def _reach(run: Sequence[Token], line: int) -> list[int]:
    """For every token, the index after the last token that fits on a line with it (at least itself)."""
    reach = []
    for i in range(len(run)):
        width, j = run[i].width, i + 1
        while j < len(run) and width + run[j].width + (not run[j].glued) <= line:
            width += run[j].width + (not run[j].glued)
            j += 1
        reach.append(j)
    return reach


def _furthest(reach: Sequence[int], i: int) -> int:
    """The index after the last token that fits on two lines starting at token i."""
    return reach[reach[i]] if reach[i] < len(reach) else reach[i]


class _Costs:
    """The cost of a cue, in constant time; the weights were tuned by hand."""

    def __init__(self, run: Sequence[Token]) -> None:
        ends = [SENTENCE_END.search(token.text) is not None for token in run]
        inside = [(1.3 if token.last else 0.8) * end for token, end in zip(run, ends, strict=True)]
        self._run = run
        self._columns = list(accumulate((t.width + (not t.glued) for t in run), initial=0))
        self._inside = list(accumulate(inside, initial=0.0))
        self._cut = [0.0] + [_cut_cost(run, j) for j in range(1, len(run) + 1)]

    def cue(self, i: int, j: int) -> float:
        """Cost of tokens [i, j): too fast, too short, too long, across a sentence end, cut in a bad place."""
        start, end = self._run[i].start, self._run[j - 1].end
        until = self._run[j].start if j < len(self._run) else end + TAIL
        shown = max(0.01, min(until, end + TAIL) - start)
        columns = self._columns[j] - self._columns[i] - 1
        cost = 1.0 + max(0.0, columns / shown - SPEED) * 0.3
        cost += max(0.0, SHORTEST - shown) * 3.0 + max(0.0, end - start - LONGEST)
        return cost + self._inside[j - 1] - self._inside[i] + self._cut[j]


def _cut_cost(run: Sequence[Token], j: int) -> float:
    """Cost of a cut before token j."""
    before = run[j - 1]
    if j == len(run) or SENTENCE_END.search(before.text):
        return 0.0
    pause = 0.4 if run[j].start - before.end > 0.25 else 0.0
    if CLAUSE_END.search(before.text):
        return 0.4 - pause
    return (0.8 if before.last else 1.2) - pause


def layout(part: Sequence[Token], line: int = LINE) -> tuple[str, ...]:
    """Split into one or two lines: after punctuation near the middle, if any; the lower line is longer."""
    whole = _join(part)
    if display_width(whole) <= line or len(part) < 2:
        return (whole,)
    ways = [(_join(part[:k]), _join(part[k:])) for k in range(1, len(part))]
    return min(ways, key=lambda lines: _uneven(lines, line))


def _uneven(lines: tuple[str, str], line: int) -> float:
    upper, lower = map(display_width, lines)
    too_long = 1000.0 * (max(0, upper - line) + max(0, lower - line))
    punctuated = SENTENCE_END.search(lines[0]) or CLAUSE_END.search(lines[0])
    return too_long + abs(lower - upper) + (3.0 if upper > lower else 0.0) - (12.0 if punctuated else 0.0)


def _join(part: Sequence[Token]) -> str:
    return "".join((" " if number and not t.glued else "") + t.text for number, t in enumerate(part))


def timed(untimed: Iterable[Cue], limit: float) -> list[Cue]:
    """Extend every cue to its reading time, into the silence around it and its neighbours' slack."""
    made = list(untimed)
    starts = [cue.start for cue in made]
    ends = [cue.end for cue in made]
    needs = [min(LONGEST, max(SHORTEST, cue.columns / SPEED)) for cue in made]
    for i in range(len(made)):
        starts[i] = max(starts[i], ends[i - 1]) if i else max(0.0, starts[i])
        following = starts[i + 1] if i + 1 < len(made) else limit
        ends[i] = _end(starts[i], ends[i], needs[i], following)
        if ends[i] - starts[i] < needs[i]:
            _lend(i, starts, ends, needs)
    return [
        Cue(start, end, cue.lines, cue.channel) for cue, start, end in zip(made, starts, ends, strict=True)
    ]


def _end(start: float, end: float, need: float, following: float) -> float:
    """When a cue ends: as late as needed, but before the next one and within LONGEST."""
    wanted = max(end, start + 0.05, min(start + need, end + TAIL))
    if wanted > following - GAP:
        wanted = min(wanted, max(end, following - GAP, start + 0.001))
        wanted = min(wanted, max(following, start + 0.05))
    return min(wanted, start + LONGEST)


def _lend(i: int, starts: list[float], ends: list[float], needs: list[float]) -> None:
    """Start a cue that is too short earlier: in the silence or in the slack of the previous cue."""
    lacking = min(LEAD, needs[i] - (ends[i] - starts[i]))
    earliest = starts[i] - lacking
    if i == 0:
        starts[i] = max(0.0, earliest)
        return
    ends[i - 1] = min(ends[i - 1], max(earliest, starts[i - 1] + needs[i - 1]))
    starts[i] = max(earliest, ends[i - 1])
