"""Full stops and capitals where two windows meet.

A decoder does not hear what follows a window, so it ends its text with a full stop, also inside a sentence.
It begins a text with a small letter only if a sentence seems to continue: "user with extension 1234." /
"and password". Then one of the two is wrong: after a short pause the full stop, after a long one the small
letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr_batch.manifests.records import WindowRecord

_PAUSE = 0.4
"""Seconds between the words at a cut from which a sentence ends there. Of 35 such cuts of human clips (even
half, whisper-base, five window lengths), 28 lie inside a clip, 27 of these with pauses of at most 0.34 s; six
of the seven between two clips have at least 0.58 s.
"""

_OPENING = "\"'\u201c\u2018\u00ab(\u00bf\u00a1"


def consistent(windows: Sequence[WindowRecord]) -> tuple[WindowRecord, ...]:
    """The windows of a row, in order of channel and time, without full stops before small letters."""
    out: list[WindowRecord] = []
    last: int | None = None  # window with text before this one
    for window in windows:
        if window.text and window.segments:
            if last is not None and _contradict(out[last], window):
                if window.segments[0].start - out[last].segments[-1].end < _PAUSE:
                    out[last] = _without_full_stop(out[last])
                else:
                    window = _with_capital(window)
            last = len(out)
        out.append(window)
    return tuple(out)


def _contradict(left: WindowRecord, right: WindowRecord) -> bool:
    """Whether `left` ends with a full stop and `right` begins with a small letter.

    Not an abbreviation ("p.m.") or dots, nor a name ("www.example.org", "iPhone").
    """
    same = left.channel == right.channel and left.language == right.language and left.cut != "end"
    last, first = left.text.split()[-1], right.text.split()[0].strip(_OPENING + ",;:!?.")
    return same and last.find(".") == len(last) - 1 > 0 and first.isalpha() and _is_small(first)


def _is_small(word: str) -> bool:
    """Whether all letters are small, and the first one has a capital (Georgian letters have none there)."""
    return word.islower() and word[0].title() != word[0]


def _without_full_stop(window: WindowRecord) -> WindowRecord:
    segment, words = window.segments[-1], window.words
    if words:
        words = (*words[:-1], replace(words[-1], word=words[-1].word.removesuffix(".")))
    return replace(
        window,
        text=window.text.removesuffix("."),
        segments=(*window.segments[:-1], replace(segment, text=segment.text.removesuffix("."))),
        words=words,
    )


def _with_capital(window: WindowRecord) -> WindowRecord:
    segment, words = window.segments[0], window.words
    if words:
        words = (replace(words[0], word=_capital(words[0].word)), *words[1:])
    return replace(
        window,
        text=_capital(window.text),
        segments=(replace(segment, text=_capital(segment.text)), *window.segments[1:]),
        words=words,
    )


def _capital(text: str) -> str:
    """The text with its first letter as a capital, after opening marks."""
    at = len(text) - len(text.lstrip(_OPENING))
    return text[:at] + text[at].title() + text[at + 1 :]
