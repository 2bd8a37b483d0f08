"""Full stops and capitals where two windows meet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asr_batch.manifests.records import Cut, Segment, WindowRecord, Word
from asr_batch.pipeline.text.full_stops import consistent


def _window(text: str, start: float, end: float, cut: Cut = "silence") -> WindowRecord:
    """A window of one segment, whose words take all of its time."""
    words = text.split()
    step = (end - start) / max(1, len(words))
    timed = tuple(Word(start + i * step, start + (i + 1) * step, word, 0.9) for i, word in enumerate(words))
    segment = Segment(start, end, text, -1, -0.1, 0.0, 1.0)
    return WindowRecord(
        0, start, end, start, end, cut, text, segments=(segment,) if text else (), words=timed, language="en"
    )


def _joined(left: str, right: str, pause: float, cut: Cut = "silence") -> str:
    windows = consistent([_window(left, 0, 5, cut), _window(right, 5 + pause, 10)])
    for window in windows:
        assert " ".join(segment.text for segment in window.segments) == window.text
        assert " ".join(word.word for word in window.words or ()) == window.text
    return " | ".join(window.text for window in windows)


@pytest.mark.parametrize(
    ("left", "right", "short", "long"),
    [
        ("with extension 1234.", "and password 4242.", "1234 | and", "1234. | And"),
        ("no puedes enviar.", "\u00bfaudio a otros?", "enviar | \u00bfaudio", "enviar. | \u00bfAudio"),
        ("Vielen Dank.", "\u00fcber die", "Dank | \u00fcber", "Dank. | \u00dcber"),
        ("until 5 p.m.", "and later", "p.m. | and", "p.m. | and"),
        ("and so on...", "and later", "on... | and", "on... | and"),
        ("Is it so?", "and later", "so? | and", "so? | and"),
        ("Try again.", "Press one", "again. | Press", "again. | Press"),
        ("on the Web.", "www.example.org has", "Web. | www.example.org", "Web. | www.example.org"),
        ("on her phone.", "iPhone it is", "phone. | iPhone", "phone. | iPhone"),
        ("the end.", "\u10d0\u10d1\u10d2 it", "end. | \u10d0\u10d1\u10d2", "end. | \u10d0\u10d1\u10d2"),
        ("the end.", "3 to mute", "end. | 3", "end. | 3"),
    ],
)
def test_a_small_letter_goes_on_and_a_pause_ends(left: str, right: str, short: str, long: str) -> None:
    before, after = left.rsplit(" ", 1)[0] + " ", right[len(right.split()[0]) :]
    assert _joined(left, right, 0.2) == f"{before}{short}{after}"
    assert _joined(left, right, 0.7) == f"{before}{long}{after}"


def test_only_neighbours_in_one_language_and_channel() -> None:
    left, right = _window("to mute.", 0, 5), _window("all others", 5.1, 10)
    silence = _window("", 5, 5.1)
    assert [window.text for window in consistent([left, silence, right])] == ["to mute", "", "all others"]
    for other in (replace(right, channel=1), replace(right, language="de")):
        assert consistent([left, other]) == (left, other)
    assert _joined("to mute.", "all others", 0.1, "end") == "to mute. | all others"
