"""Repairs of one track at once: within the budget, and the same in whatever order results come back."""

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
from asr_batch.pipeline.guards import Ask
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import Place, Take
from asr_batch.pipeline.retry.repair import Workshop
from asr_batch.pipeline.retry.scheduler import Remains, Repairs
from asr_batch.pipeline.track import Track

BARE, UNSURE, EARLY = {1, 4, 5, 6, 12, 13, 16}, {3, 8, 9}, {10, 15}
OPTIONS = PipelineOptions(repair_budget=0.0)
SHOP = Workshop(DecodeOptions(), OPTIONS, second=False, longest=10 * RATE)


def says(samples: np.ndarray, logprob: float = -0.1, share: float = 1.0) -> WindowResult:
    """A text of two and a half words a second that is another one for other samples."""
    first = int(np.abs(samples).sum() * 1000) % 9973
    count = round(share * 2.2 * len(samples) / RATE)
    text = " ".join(f"w{first + word}" for word in range(count))
    return WindowResult("", text, tuple(range(count)), logprob, 0.0, 0.0)


def first_pass(place: int, samples: np.ndarray) -> WindowResult:
    """Nothing in some windows, less than there is in others; unsure of some."""
    if place in BARE:
        return says(samples, share=0.0)
    return says(samples, -0.7 if place in UNSURE else -0.1, 0.3 if place in EARLY else 1.0)


def retry(samples: np.ndarray, luck: int) -> WindowResult:
    """What a repair hears: nothing, little, or all; the samples and `luck` decide (below 0: nothing ever)."""
    draw = random.Random(luck + int(np.abs(samples).sum() * 7919)).random() if luck >= 0 else 0.0
    return says(samples, share=0.0 if draw < 0.4 else 0.3 if draw < 0.5 else 1.0)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, clips: list[tuple[str, np.ndarray]]) -> Path:
    """Some 140 s of speech with short pauses."""
    path = tmp_path_factory.mktemp("settle") / "talk.wav"
    soundfile.write(path, joined(clips * 4, 0.15), RATE)
    return path


@pytest.fixture(scope="module")
def decoded(talk: Path) -> Remains:
    """All its windows decoded once."""
    place = Place(talk, 0.0, None, "mix", "row")
    track = Track(place, FakeRecognizer().info, OPTIONS, DecodeOptions(), Meter())
    while (asked := track.pull()) is not None:
        track.give(asked[0], first_pass(asked[0], asked[1].samples))
    return Remains(place, track.end, track.takes, track.histogram.threshold(), 0.0)


def repaired(
    decoded: Remains, budget: float, luck: int, pick: Callable[[int], int], seen: list[set[int]]
) -> tuple[list[Take], float]:
    """The windows afterwards and the seconds decoded. `pick`: which of so many open asks is answered next;
    `seen`: the windows that had one open, each time.
    """
    track = replace(decoded, takes=copy.deepcopy(decoded.takes), budget=budget)
    repairs = Repairs(track, SHOP)
    open_asks: deque[tuple[int, Ask]] = deque(repairs.asks())
    spent = 0.0
    while open_asks:
        seen.append({index for index, _ in open_asks})
        open_asks.rotate(-pick(len(open_asks)))
        index, ask = open_asks.popleft()
        spent += len(ask.samples) / RATE
        repairs.give(index, retry(ask.samples, luck))
        open_asks += repairs.asks()
    assert repairs.finished
    return track.takes, spent


def shown(takes: list[Take]) -> list[object]:
    return [(take.index, take.start, take.end, take.cut, take.outcome, take.sparse) for take in takes]


@settings(max_examples=50, deadline=None)
@given(
    budget=st.floats(10, 90) | st.floats(90, 240),
    luck=st.integers(-1, 99),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_results_decides_nothing_and_the_budget_holds(
    budget: float, luck: int, order: random.Random, decoded: Remains
) -> None:
    straight, spent = repaired(decoded, budget, luck, lambda _: 0, [])
    mixed, as_much = repaired(decoded, budget, luck, order.randrange, [])
    assert shown(mixed) == shown(straight)
    assert as_much == pytest.approx(spent)
    assert spent <= budget + 1e-6


def test_most_of_the_budget_is_used_where_nothing_helps(decoded: Remains) -> None:
    takes, spent = repaired(decoded, 60.0, -1, lambda _: 0, [])
    assert spent > 50
    assert not any(take.outcome and "recovered" in take.outcome.flags for take in takes)
    takes, spent = repaired(decoded, 60.0, 5, lambda _: 0, [])
    assert any(take.outcome and "recovered" in take.outcome.flags for take in takes)


def test_a_window_cut_anew_waits_for_the_one_before_it(decoded: Remains) -> None:
    seen: list[set[int]] = []
    repaired(decoded, 300.0, 1, lambda _: 0, seen)
    assert set().union(*seen) == BARE | UNSURE | EARLY
    assert any({4, 5, 6} <= together for together in seen)  # nothing of the one before goes into these
    for left, right in ((8, 9), (9, 10)):
        assert not any({left, right} <= together for together in seen)


class Ward(FakeRecognizer):
    """The same through a transcriber; notes how many repairs were open."""

    most = 0

    def poll(self) -> list[WindowResult]:
        self.most = max(self.most, sum(place(request) < 0 for request in self.queue))
        request = self.queue.popleft()
        at = place(request)
        result = first_pass(at, request.samples) if at >= 0 else retry(request.samples, 1)
        return [replace(result, key=request.key)]


def place(request: WindowRequest) -> int:
    _, slot = request.key  # type: ignore[misc]
    return int(slot)


def test_slots_are_filled_with_repairs_of_one_track(talk: Path) -> None:
    many, one = Ward(batch=16), Ward(batch=1)
    options = PipelineOptions(repair_budget=2.0)
    assert row(talk, many, options).windows == row(talk, one, options).windows
    assert many.most >= 5
    assert one.most == 1
