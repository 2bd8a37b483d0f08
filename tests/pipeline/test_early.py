"""What a retry will ask is asked early, while other windows are decoded: the outcome is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pipeline_lab import RATE, FakeRecognizer, joined

from asr_batch.models.recognizer import DecodeOptions, WindowResult
from asr_batch.pipeline.audio.frames import Meter
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import Stretch
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.early import Early
from asr_batch.pipeline.running import EARLY, RETRY, Key
from asr_batch.pipeline.track import Track

DEFAULTS = PipelineOptions()
UNSURE = [3]
"""Windows that begin unsurely, of those of a recording."""


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, clips: list[tuple[str, np.ndarray]]) -> Path:
    path = tmp_path_factory.mktemp("early") / "talk.wav"
    soundfile.write(path, joined(clips * 2, 0.15), RATE)
    return path


def says(key: Key, request: DecodeRequest) -> WindowResult:
    """Two words a second; an unsure first one in one window, unless the text before is shown."""
    index, shown = key[0], bool(request.options.prompt)
    count = round(2.2 * len(request.samples) / RATE)
    first = "Dial" if shown else "Dow"
    text = " ".join([first, *(f"w{index}x{word}" for word in range(1, count))])
    unsure = index in UNSURE and not shown
    return WindowResult(
        "", text, tuple(range(count)), -0.09 if shown else -0.2 if unsure else -0.05, 0.0,
        first_logprob=-2.0 if unsure else -0.1,
    )  # fmt: skip


Order = Callable[[Iterable[Key]], Key]
Outcomes = tuple[list[object], float, list[int]]


def run(talk: Path, order: Order, options: PipelineOptions = DEFAULTS) -> Outcomes:
    """The outcomes of all windows, the seconds asked, and the places of the requests that begin with a text.

    `order` tells which open request is answered next.
    """
    base = DecodeOptions(search=True)
    track = Track(Stretch(talk, 0.0, None, "mix"), FakeRecognizer().info, options, base, Meter())
    waiting, shown = dict[Key, DecodeRequest](), list[int]()
    while True:
        while (asked := track.pull()) is not None:
            waiting[asked[0]] = asked[1]
            shown += [asked[0][1]] if asked[1].options.prompt else []
        if not waiting:
            break
        assert not track.finished
        key = order(waiting)
        track.give(key, says(key, waiting.pop(key)))
    assert track.finished
    return [(one.index, one.outcome) for one in track.windows], track.asked_seconds, shown


def in_order(keys: Iterable[Key]) -> Key:
    return min(keys, key=lambda key: (key[1] == EARLY, key))


def backwards(keys: Iterable[Key]) -> Key:
    return max(keys)


def early_first(keys: Iterable[Key]) -> Key:
    return min(keys, key=lambda key: (key[1] != EARLY, key))


def test_a_window_is_asked_again_before_the_last_one_is_decoded(talk: Path) -> None:
    windows, seconds, shown = run(talk, early_first)
    assert shown == [EARLY]
    assert len(windows) > UNSURE[0] + 2
    late, as_many, late_shown = run(talk, backwards)  # the first window comes last: nothing can be early
    assert late_shown == [RETRY]
    assert windows == late
    assert seconds == pytest.approx(as_many)


def test_retries_wait_for_what_was_asked_early(talk: Path) -> None:
    windows, seconds, shown = run(talk, in_order)
    assert shown == [EARLY]
    assert (windows, seconds) == run(talk, backwards)[:2]


def test_a_window_after_one_that_is_asked_waits_for_it(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "UNSURE", [2, 3])
    windows, seconds, shown = run(talk, early_first)
    assert shown == [EARLY, RETRY]
    assert (windows, seconds) == run(talk, backwards)[:2]


def test_what_is_asked_in_vain_changes_nothing(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows, seconds, _ = run(talk, backwards)
    monkeypatch.setattr(Early, "expects", lambda *_: False)
    for order in (early_first, in_order):
        found, as_many, shown = run(talk, order)
        assert shown == [EARLY, RETRY]
        assert (found, as_many) == (windows, seconds)


def test_without_a_budget_nothing_is_asked_early(talk: Path) -> None:
    options = replace(DEFAULTS, repair_budget=0.0)
    assert run(talk, early_first, options)[2] == []
