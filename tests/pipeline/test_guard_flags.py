"""A loop that the model's own family recognised fails the guard, whatever the pipeline makes of the text."""

from __future__ import annotations

from dataclasses import replace

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.guards import judge


def test_a_flagged_loop_is_a_fault() -> None:
    result = WindowResult("w", "one two three", (1, 2, 3), -0.2, float("nan"))
    assert judge(result, speech=2.0) == frozenset()
    flagged = replace(result, flags=("repetition",))
    assert judge(flagged, speech=2.0) == {"repetition"}
