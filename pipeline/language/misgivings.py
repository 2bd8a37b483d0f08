"""What speaks against the text of a row, in sentences for a person; it changes neither text nor status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asr_batch.models.recognizer import DecodeOptions
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.thresholds import DOUBTED, ENOUGH_TO_TELL, HARDLY_HEARD, TURN_CHANCE


def misgivings(
    windows: Sequence[DecodedWindow], base: DecodeOptions, languages: Sequence[str], given: str | None
) -> Iterator[str]:
    """Notes on a track with the `base` options, by a model that knows `languages` (empty: unknown).

    `given`: the language that it was given and that nothing else has a say in; None: there is none.
    """
    if base.task != "translate" and _is_unlikely(windows):
        other = f"another language than {languages[0]} may be spoken" if len(languages) == 1 else ""
        yield f"its text is unlikely on the whole: {other or 'it may be wrong'}"
    heard = _heard_instead_of(given, windows) if given else None
    if heard is not None:
        yield f"its language is given as {given}, but the model detects {heard}"


def _is_unlikely(windows: Sequence[DecodedWindow]) -> bool:
    """Whether the text of a track with enough speech is unlikely on the whole."""
    seconds = total = 0.0
    for window in windows:
        if window.outcome is not None and window.outcome.result.text:
            seconds += window.heard_seconds
            total += window.heard_seconds * window.outcome.result.avg_logprob
    return seconds >= ENOUGH_TO_TELL and total < DOUBTED * seconds


def _heard_instead_of(given: str, windows: Sequence[DecodedWindow]) -> str | None:
    """The language that the model surely hears in a row given as another one; None: it may be that one."""
    share: dict[str, float] = {}
    seconds = 0.0
    for window in windows:
        if window.outcome is None or window.heard_seconds < ENOUGH_TO_TELL:
            continue
        seconds += window.heard_seconds
        for code, chance in window.outcome.result.languages:
            share[code] = share.get(code, 0.0) + chance * window.heard_seconds
    likeliest = max(share, key=lambda code: share[code], default=given)
    hardly = share.get(given, 0.0) <= HARDLY_HEARD * seconds
    return likeliest if hardly and share.get(likeliest, 0.0) >= TURN_CHANCE * seconds > 0 else None
