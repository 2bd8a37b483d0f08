"""Full stops and capitals where two windows meet.

A decoder does not hear what follows a window, so it ends its text with a full stop, also inside a sentence.
It begins a text with a small letter only if a sentence seems to continue: "user with extension 1234." /
"and password". Then one of the two is wrong: after a short pause the full stop, after a long one the small
letter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
                    out[last] = _changed(out[last], -1, _without_full_stop)
                else:
                    window = _changed(window, 0, _capital)
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


def _changed(window: WindowRecord, edge: int, change: Callable[[str], str]) -> WindowRecord:
    """The window with a changed text; `edge`, 0 or -1, is the segment and word that the change is in."""
    segments, words = list(window.segments), window.words
    segments[edge] = replace(segments[edge], text=change(segments[edge].text))
    if words:
        timed = list(words)
        timed[edge] = replace(timed[edge], word=change(timed[edge].word))
        words = tuple(timed)
    return replace(window, text=change(window.text), segments=tuple(segments), words=words)


def _without_full_stop(text: str) -> str:
    return text.removesuffix(".")


def _capital(text: str) -> str:
    """The text with its first letter as a capital, after opening marks."""
    at = len(text) - len(text.lstrip(_OPENING))
    return text[:at] + text[at].title() + text[at + 1 :]
