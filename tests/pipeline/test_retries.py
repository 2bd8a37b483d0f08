"""Retries of one track at once: within the budget, and the same in whatever order results come back."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_lab import RATE, FakeRecognizer, joined, row

from asr_batch.models.recognizer import DecodeOptions, WindowRequest, WindowResult
from asr_batch.pipeline.audio.frames import Meter
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.records import DecodedWindow, Stretch
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.attempts import DecodedTrack
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.scheduler import Retries
from asr_batch.pipeline.thresholds import AT_ONCE
from asr_batch.pipeline.track import Track

BARE, UNLIKELY, EARLY = {1, 4, 5, 6, 12, 13}, {3, 8, 9}, {10, 15}
OPTIONS = PipelineOptions(repair_budget=0.0)
LISTENER = Listener(DecodeOptions(), OPTIONS, second=False, longest=30.0)


def says(samples: np.ndarray, logprob: float = -0.1, share: float = 1.0) -> WindowResult:
    """A text of two and a half words a second that is another one for other samples."""
    first = int(np.abs(samples).sum() * 1000) % 9973
    count = round(share * 2.2 * len(samples) / RATE)
    text = " ".join(f"w{first + word}" for word in range(count))
    return WindowResult("", text, tuple(range(count)), logprob, 0.0)


def first_pass(place: int, samples: np.ndarray) -> WindowResult:
    """Nothing in some windows, less than there is in others; some texts unlikely."""
    if place in BARE:
        return says(samples, share=0.0)
    return says(samples, -1.4 if place in UNLIKELY else -0.1, 0.3 if place in EARLY else 1.0)


def retry(samples: np.ndarray, luck: int) -> WindowResult:
    """What a retry hears: nothing, little, or all; the samples and `luck` decide (below 0: nothing ever)."""
    draw = random.Random(luck + int(np.abs(samples).sum() * 7919)).random() if luck >= 0 else 0.0
    return says(samples, share=0.0 if draw < 0.4 else 0.3 if draw < 0.5 else 1.0)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, clips: list[tuple[str, np.ndarray]]) -> Path:
    """Some 140 s of speech with short pauses."""
    path = tmp_path_factory.mktemp("settle") / "talk.wav"
    soundfile.write(path, joined(clips * 4, 0.15), RATE)
    return path


@pytest.fixture(scope="module")
def decoded(talk: Path) -> DecodedTrack:
    """All its windows decoded once."""
    stretch = Stretch(talk, 0.0, None, "mix")
    track = Track(stretch, FakeRecognizer().info, OPTIONS, DecodeOptions(), Meter())
    while (asked := track.pull()) is not None:
        track.give(asked[0], first_pass(asked[0][0], asked[1].samples))
    return DecodedTrack(stretch, track.end, track.windows, track.histogram.threshold(), 0.0)


def retried(
    decoded: DecodedTrack, budget: float, luck: int, pick: Callable[[int], int], seen: list[set[int]]
) -> tuple[list[DecodedWindow], float]:
    """The windows afterwards and the seconds decoded. `pick`: which of so many requests is answered next;
    `seen`: the windows that had one open, each time.
    """
    track = replace(decoded, windows=copy.deepcopy(decoded.windows), budget=budget)
    retries = Retries(track, LISTENER)
    waiting: deque[tuple[int, DecodeRequest]] = deque(retries.requests())
    spent = 0.0
    while waiting:
        seen.append({index for index, _ in waiting})
        waiting.rotate(-pick(len(waiting)))
        index, request = waiting.popleft()
        spent += len(request.samples) / RATE
        retries.give(index, retry(request.samples, luck))
        waiting += retries.requests()
    assert retries.finished
    return track.windows, spent


def shown(windows: list[DecodedWindow]) -> list[object]:
    return [(window.index, window.outcome, window.confirmed) for window in windows]


@settings(max_examples=50, deadline=None)
@given(
    budget=st.floats(10, 90) | st.floats(90, 240),
    luck=st.integers(-1, 99),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_results_decides_nothing_and_the_budget_holds(
    budget: float, luck: int, order: random.Random, decoded: DecodedTrack
) -> None:
    straight, spent = retried(decoded, budget, luck, lambda _: 0, [])
    mixed, as_much = retried(decoded, budget, luck, order.randrange, [])
    assert shown(mixed) == shown(straight)
    assert as_much == pytest.approx(spent)
    assert spent <= budget + 1e-6


def test_most_of_the_budget_is_used_where_nothing_helps(decoded: DecodedTrack) -> None:
    windows, spent = retried(decoded, 60.0, -1, lambda _: 0, [])
    assert spent > 50
    assert not any(window.outcome and "recovered" in window.outcome.flags for window in windows)
    windows, spent = retried(decoded, 60.0, 5, lambda _: 0, [])
    assert any(window.outcome and "recovered" in window.outcome.flags for window in windows)


def test_all_doubtful_windows_are_heard_at_once(decoded: DecodedTrack) -> None:
    seen: list[set[int]] = []
    retried(decoded, 300.0, 1, lambda _: 0, seen)
    assert set().union(*seen) - UNLIKELY == BARE | EARLY  # of the unlikely ones only the brief
    assert max(map(len, seen)) == AT_ONCE


class Ward(FakeRecognizer):
    """The same through a transcriber; notes how many retries were open."""

    most = 0

    def poll(self) -> list[WindowResult]:
        self.most = max(self.most, sum(place(request) < 0 for request in self.queue))
        request = self.queue.popleft()
        at = place(request)
        result = first_pass(at, request.samples) if at >= 0 else retry(request.samples, 1)
        return [replace(result, key=request.key)]


def place(request: WindowRequest) -> int:
    _, (index, number) = request.key  # type: ignore[misc]
    return int(index) if number >= 0 else ~int(index)


def test_slots_are_filled_with_retries_of_one_track(talk: Path) -> None:
    many, one = Ward(batch=16), Ward(batch=1)
    options = PipelineOptions(repair_budget=2.0)
    assert row(talk, many, options).windows == row(talk, one, options).windows
    assert many.most >= 5
    assert one.most == 1


def unsure_after(decoded: DecodedTrack, logprob: float) -> DecodedTrack:
    """Four windows with full texts, of which the first is this likely, and the others begin unsure."""
    windows = copy.deepcopy(decoded.windows[:4])
    for window in windows:
        words = [f"w{100 * (window.index + 1) + word}" for word in range(round(2.2 * window.seconds))]
        result = says(np.zeros(0), -0.05 if window.index else logprob)
        result = replace(result, text=" ".join(["Dow", *words]), tokens=tuple(range(len(words))))
        window.outcome = Outcome(replace(result, first_logprob=-3.0 if window.index else -0.1))
    return replace(decoded, windows=windows, budget=240.0)


def prompts_of(track: DecodedTrack, pick: Callable[[int], int]) -> dict[int, str | None]:
    """What each window is shown; each is heard with "Dial" for "Dow"."""
    retries = Retries(track, replace(LISTENER, base=DecodeOptions(search=True)))
    waiting, prompts = deque(retries.requests()), dict[int, str | None]()
    while waiting:
        waiting.rotate(-pick(len(waiting)))
        index, request = waiting.popleft()
        assert index not in prompts
        prompts[index] = request.options.prompt
        first = track.windows[index].outcome
        assert first is not None
        mended = replace(first.result, text=first.result.text.replace("Dow", "Dial"), avg_logprob=-0.01)
        retries.give(index, mended)
        waiting += retries.requests()
    return prompts


@pytest.mark.parametrize("pick", [lambda count: 0, lambda count: count - 1], ids=["first", "last"])
def test_a_window_is_shown_what_those_before_it_say_by_then(
    pick: Callable[[int], int], decoded: DecodedTrack
) -> None:
    track = unsure_after(decoded, -0.05)
    prompts = prompts_of(track, pick)
    texts = [window.outcome.result.text for window in track.windows if window.outcome]
    assert [text.split()[0] for text in texts] == ["Dow", "Dial", "Dial", "Dial"]
    assert prompts == {at: " ".join(texts[:at]) for at in (1, 2, 3)}


def test_nothing_is_shown_after_unlikely_text(decoded: DecodedTrack) -> None:
    track = unsure_after(decoded, -0.3)
    assert 1 not in prompts_of(track, lambda _: 0)
