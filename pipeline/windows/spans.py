"""Splits long rows into spans that several workers share; by duration alone, so the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr_batch.manifests.records import AudioItem, Unit

if TYPE_CHECKING:
    from asr_batch.pipeline.audio.reader import AudioInfo

LONG = 1200.0
"""Seconds from which a row is split."""

SPAN = 600.0
"""Approximate seconds of a span."""


def split_item(item: AudioItem, info: AudioInfo | None) -> list[Unit]:
    """The units of a row: one, or spans of about ten minutes if it is longer than twenty.

    Only files with exact seeking are split. `info` None (the file could not be probed) gives one unit,
    whose worker reports the reason.
    """
    start = item.start or 0.0
    end = item.end
    if info is not None and info.duration:
        end = info.duration if end is None else min(end, info.duration)
    seconds = max(0.0, end - start) if end is not None else 0.0
    if info is None or not info.seekable or seconds <= LONG or end is None:
        return [Unit(item, start=start, end=item.end, seconds=seconds)]
    count = -int(-seconds // SPAN)
    borders = [start + seconds * index / count for index in range(count)]
    return [
        Unit(
            item,
            index=index,
            count=count,
            start=border,
            end=borders[index + 1] if index + 1 < count else item.end,
            soft_start=index > 0,
            soft_end=index + 1 < count,
            seconds=seconds / count,
        )
        for index, border in enumerate(borders)
    ]
