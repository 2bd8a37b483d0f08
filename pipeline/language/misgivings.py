"""What speaks against the text of a row, in sentences for a person; it changes neither text nor status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asr_batch.models.recognizer import DecodeOptions, WindowResult
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.thresholds import (
    DOUBTED,
    ENOUGH_TO_TELL,
    HARDLY_HEARD,
    LEAST_SPEECH,
    POOR_LOGPROB,
    SURE_CHANCE,
    TURN_CHANCE,
)


def misgivings(
    windows: Sequence[DecodedWindow],
    base: DecodeOptions,
    languages: Sequence[str],
    given: str | None,
    detected: bool,
) -> Iterator[str]:
    """Notes on a track with the `base` options, by a model that knows `languages` (empty: unknown).

    `given`: the language that it was given and that nothing else has a say in; None: there is none.
    `detected`: whether the model detected the language of its windows.
    """
    if base.task != "translate":
        yield from _unlikely(windows, languages[0] if len(languages) == 1 else None, detected)
    heard = _heard_instead_of(given, windows) if given else None
    if heard is not None:
        yield f"its language is given as {given}, but the model detects {heard}"


def _unlikely(windows: Sequence[DecodedWindow], only: str | None, detected: bool) -> Iterator[str]:
    """The note on a text that is unlikely on the whole; `only`: the language that the model knows.

    Where the language is not clear either, a text need not be as unlikely, and a word or two are enough.
    """
    results = [
        (window.heard_seconds, window.outcome.result)
        for window in windows
        if window.outcome is not None and window.outcome.result.text
    ]
    seconds = sum(heard for heard, _ in results)
    likely = sum(heard * result.avg_logprob for heard, result in results)
    sure = sum(heard * _sureness(result) for heard, result in results)
    if detected and seconds >= LEAST_SPEECH and sure < SURE_CHANCE * seconds:
        unlikely, other = likely < POOR_LOGPROB * seconds, max(results, key=lambda one: one[0])[1].language
    else:
        unlikely, other = seconds >= ENOUGH_TO_TELL and likely < DOUBTED * seconds, only
    if unlikely:
        spoken = f"another language than {other} may be spoken" if other else "it may be wrong"
        yield f"its text is unlikely on the whole: {spoken}"


def _sureness(result: WindowResult) -> float:
    """The probability of the language that a result is in; 1 where none was detected."""
    return dict(result.languages).get(result.language or "", 0.0) if result.languages else 1.0


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
