"""Moves the soft boundary between two spans of a long row to a quiet place.

Both spans call this with the same arguments and the same samples, so they agree without communication.
"""

from __future__ import annotations

import numpy as np

from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND, Meter
from asr_batch.pipeline.audio.reader import read_samples
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.windows.planning import longest_run, pauses, quietest

REACH = 6.0
"""Seconds by which a boundary may move to either side."""

_SHORTEST_PAUSE = 10  # frames


def quiet_boundary(
    source: Source, nominal: float, channel: str, meter: Meter, track: int | None = None
) -> float:
    """The second near `nominal` where the spans meet: the longest pause, else the quietest place.

    Raises ItemError as `read_samples`.
    """
    start = max(0.0, nominal - REACH)
    one = "mix" if channel == "split" else channel
    samples = read_samples(source, start, nominal + REACH, one, track=track)
    if len(samples) < FRAME:
        return nominal
    stretches = list(meter.measure([samples]))
    level = np.concatenate([stretch.level for stretch in stretches])
    speech = np.concatenate([stretch.speech for stretch in stretches])
    first, last = longest_run(pauses(level, speech))
    if last - first < _SHORTEST_PAUSE:
        first, last = 0, len(level)
    return start + quietest(level, first, last) / FRAMES_PER_SECOND


def plain_boundary(nominal: float, row_start: float, window: float) -> float:
    """The boundary of plain mode: the nearest whole number of windows from the start of the row."""
    return row_start + max(1, round((nominal - row_start) / window)) * window
