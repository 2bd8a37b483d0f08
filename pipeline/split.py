"""Long rows to spans that several workers share; from the duration alone, so the same on every machine."""

from __future__ import annotations

from itertools import pairwise

from asr_batch.manifests.records import AudioItem, Unit
from asr_batch.pipeline.audio import AudioInfo

LONG = 1200.0
"""Seconds from which a row is split."""

SPAN = 600.0
"""About how many seconds a span of a long row has."""

SHORT = 120.0
"""Seconds that the parts of the last span have at least."""


def split_item(item: AudioItem, info: AudioInfo | None) -> list[Unit]:
    """The units of a row: one, or spans of about ten minutes (the last ones shorter) beyond twenty.

    Only files whose samples can be reached exactly without decoding all before are split. `info` None
    (the file could not be probed) gives one unit; its worker finds out why.
    """
    start = item.start or 0.0
    end = item.end
    if info is not None and info.duration:
        end = info.duration if end is None else min(end, info.duration)
    seconds = max(0.0, end - start) if end is not None else 0.0
    if info is None or not info.seekable or seconds <= LONG or end is None:
        return [Unit(item, start=start, end=item.end, seconds=seconds)]
    borders = [start + seconds * share for share in _shares(seconds)]
    count = len(borders) - 1
    return [
        Unit(
            item,
            index=index,
            count=count,
            start=first,
            end=last if index + 1 < count else item.end,
            soft_start=index > 0,
            soft_end=index + 1 < count,
            seconds=last - first,
        )
        for index, (first, last) in enumerate(pairwise(borders))
    ]


def _shares(seconds: float) -> list[float]:
    """Borders of equal spans as shares of the whole, the last span in four: what is still to do when the
    others are done then keeps several workers busy, or the slots of one.
    """
    count = -int(-seconds // SPAN)
    parts = max(1, min(4, int(seconds / count // SHORT)))
    steps = [*range(count), *(count - 1 + part / parts for part in range(1, parts + 1))]
    return [step / count for step in steps]
