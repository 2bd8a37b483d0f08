"""Decoders that misbehave: repaired or flagged, never silent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, joined, row

from asr_batch.models.recognizer import WindowRequest, WindowResult
from asr_batch.pipeline.guards import compression_ratio, judge, loops, token_cap
from asr_batch.pipeline.options import PipelineOptions

Speak = Callable[[WindowRequest, WindowResult], WindowResult]


@pytest.fixture
def talk(save: Callable[..., Path], clips: list) -> Path:
    """Some 33 s of speech with pauses."""
    return save(joined(clips, 0.4))


def words(count: int) -> str:
    return " ".join(f"word{index}" for index in range(count))


def heard(recognizer: FakeRecognizer) -> list[float]:
    return [request.options.temperature for request in recognizer.requests]


def test_a_good_decoder_is_asked_once_per_window(talk: Path) -> None:
    recognizer = FakeRecognizer()
    transcript = row(talk, recognizer)
    assert transcript.status == "ok"
    assert set(heard(recognizer)) == {0.0}
    assert len(recognizer.requests) == len(transcript.windows)
    assert transcript.text == " ".join(window.text for window in transcript.windows)
    assert transcript.coverage == 1.0
    assert all(request.options.suppress_first_eot for request in recognizer.requests)
    assert all(request.options.max_new_tokens for request in recognizer.requests)


def first_try(trouble: Callable[[WindowResult], WindowResult]) -> Speak:
    """Trouble on the first, greedy decoding of each window longer than 5 s; a retry goes well."""

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        fresh = request.options.temperature == 0 and len(request.samples) > 5 * RATE
        return trouble(result) if fresh else result

    return speak


LADDER = {
    "loop": lambda result: replace(result, text=" ".join(["so it is"] * 40)),
    "unlikely": lambda result: replace(result, avg_logprob=-1.7),
    "nan": lambda result: replace(
        result, text="", tokens=(), avg_logprob=math.nan, error="NaN in the logits"
    ),
    "endless": lambda result: replace(result, text=" ".join(["nine"] * 70), truncated=True),
}


@pytest.mark.parametrize("name", LADDER)
def test_a_fault_goes_up_the_ladder_in_the_running_batch(talk: Path, name: str) -> None:
    recognizer = FakeRecognizer(first_try(LADDER[name]))
    transcript = row(talk, recognizer)
    assert transcript.status == "ok"
    assert max(heard(recognizer)) == 0.2
    mended = [window for window in transcript.windows if window.temperature == 0.2]
    assert mended
    assert all("recovered" in window.flags and window.hypotheses for window in mended)
    seeds = {request.options.seed for request in recognizer.requests if request.options.temperature}
    assert len(seeds) == len(mended)


def test_a_decoder_that_always_fails_is_a_partial_row(talk: Path) -> None:
    recognizer = FakeRecognizer(lambda _, result: LADDER["nan"](result))
    transcript = row(talk, recognizer)
    assert (transcript.status, transcript.error_code) == ("partial", "decode_failed")
    assert transcript.coverage < 0.05
    assert sum(end - start for start, end in transcript.uncovered) > 20
    check_tiling(transcript, 0.0, transcript.duration)


def test_a_loop_that_never_ends_is_flagged_not_deleted(talk: Path) -> None:
    transcript = row(talk, FakeRecognizer(lambda _, result: LADDER["loop"](result)))
    assert all("repetition" in window.flags for window in transcript.windows)
    assert "so it is so it is" in transcript.text


def test_an_empty_answer_over_speech_is_repaired(talk: Path) -> None:
    recognizer = FakeRecognizer(first_try(lambda result: replace(result, text="", tokens=())))
    transcript = row(talk, recognizer, PipelineOptions(repair_budget=9.0))
    assert transcript.status == "ok"
    assert transcript.coverage == 1.0
    assert any("recovered" in window.flags for window in transcript.windows)


def test_an_empty_answer_that_stays_is_uncovered(talk: Path) -> None:
    recognizer = FakeRecognizer(lambda _, result: replace(result, text="", tokens=()))
    transcript = row(talk, recognizer)
    assert (transcript.status, transcript.error_code) == ("partial", "uncovered_speech")
    assert transcript.coverage < 0.05
    assert all("uncovered" in window.flags for window in transcript.windows)
    for start, end in transcript.uncovered:
        assert 0 <= start < end <= transcript.duration
    longer = row(
        talk, FakeRecognizer(lambda _, r: replace(r, text="", tokens=())), PipelineOptions(repair_budget=0)
    )
    assert longer.status == "partial"


def test_one_word_over_much_speech_is_not_a_transcript(talk: Path) -> None:
    transcript = row(talk, FakeRecognizer(lambda _, result: replace(result, text="yes")))
    assert transcript.status == "partial"
    assert transcript.uncovered


def test_an_early_stop_is_noticed_by_the_recordings_own_rate(save: Callable[..., Path], clips: list) -> None:
    """One window of several says 0.8 words a second where the others say 2.5: it is tried in parts."""
    path = save(joined(clips * 3, 0.4))
    calls = []

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        calls.append(request)
        early = len(calls) == 3
        return (
            replace(result, text=" ".join(result.text.split()[: len(result.text.split()) // 3]))
            if early
            else result
        )

    transcript = row(path, FakeRecognizer(speak, batch=1))
    recovered = [window for window in transcript.windows if "recovered" in window.flags]
    assert [window.index for window in recovered] == [2, 3]
    assert all(window.words_per_second > 2 for window in recovered)
    assert recovered[1].hypotheses


def test_the_budget_bounds_what_repairs_decode(save: Callable[..., Path], clips: list) -> None:
    path = save(joined(clips * 6, 0.4))
    recognizer = FakeRecognizer(lambda _, result: replace(result, text="", tokens=()))
    transcript = row(path, recognizer, PipelineOptions(repair_budget=0.2))
    decoded = sum(len(request.samples) for request in recognizer.requests) / RATE
    assert decoded < 1.25 * transcript.duration + 1
    assert decoded > 1.05 * transcript.duration


def test_the_second_model_is_asked_last_and_both_hypotheses_are_kept(talk: Path) -> None:
    first = FakeRecognizer(lambda _, result: replace(result, text="hm"))
    second = FakeRecognizer()
    from pipeline_lab import run_units

    from asr_batch.manifests.records import AudioItem
    from asr_batch.pipeline.text.assembling import assemble
    from asr_batch.pipeline.windows.spans import split_item

    loaded = []

    def load() -> FakeRecognizer:
        loaded.append(second)
        return second

    item = AudioItem("row", "a", str(talk))
    options = PipelineOptions(repair_budget=9.0)
    spans = run_units([(split_item(item, None)[0], talk)], first, options, second=load)
    transcript = assemble(item, list(spans.values()))
    assert len(loaded) == 1
    assert second.requests
    assert transcript.status == "ok"
    assert all(
        "hm" in [other.text for other in w.hypotheses] for w in transcript.windows if "recovered" in w.flags
    )


def test_the_budget_of_a_short_row_reaches_the_second_model(save: Callable[..., Path], clips: list) -> None:
    """A bare window of nine seconds: the other ways alone would take more than the three windows allowed."""
    from pipeline_lab import run_units

    from asr_batch.manifests.records import AudioItem
    from asr_batch.pipeline.text.assembling import assemble
    from asr_batch.pipeline.windows.spans import split_item

    path = save(joined(clips[:3], 0.3))
    first = FakeRecognizer(lambda _, result: replace(result, text="", tokens=()))
    second = FakeRecognizer()
    item = AudioItem("row", "a", str(path))
    spans = run_units([(split_item(item, None)[0], path)], first, PipelineOptions(), second=lambda: second)
    transcript = assemble(item, list(spans.values()))
    assert second.requests
    assert transcript.status == "ok"
    assert len(first.requests) >= 3
    decoded = sum(len(request.samples) for request in (*first.requests[1:], *second.requests)) / RATE
    assert decoded <= 30


def test_text_over_silence_is_flagged_and_goes_only_on_request(save: Callable[..., Path]) -> None:
    rng = np.random.default_rng(1)
    hiss = rng.normal(0, 1, 12 * RATE) * (0.002 + 0.02 * (np.sin(np.arange(12 * RATE) / 9000) > 0.9))
    path = save(hiss.astype(np.float32))
    invent: Speak = lambda _, result: replace(result, text="thanks for watching")  # noqa: E731
    transcript = row(path, FakeRecognizer(invent))
    assert transcript.text
    assert all("suspect_hallucination" in window.flags for window in transcript.windows if window.text)
    bare = row(path, FakeRecognizer(invent), PipelineOptions(drop_hallucinations=True))
    assert (bare.text, bare.status) == ("", "empty")


def test_plain_asks_once_for_whole_windows(talk: Path) -> None:
    recognizer = FakeRecognizer(lambda _, result: replace(result, text="x " * 99, avg_logprob=-9.0))
    transcript = row(talk, recognizer, PipelineOptions(plain=True, max_new_tokens=33))
    count = math.ceil(transcript.duration / 10)
    assert len(recognizer.requests) == count == len(transcript.windows)
    assert all(len(request.samples) == 10 * RATE for request in recognizer.requests[:-1])
    assert all(r.options.plain and r.options.max_new_tokens == 33 for r in recognizer.requests)
    assert [window.start for window in transcript.windows] == [10.0 * index for index in range(count)]
    assert transcript.status == "ok"
    check_tiling(transcript, 0.0, transcript.duration)


def test_measures() -> None:
    assert compression_ratio("") == 0
    assert compression_ratio("so it is " * 30) > 2.4 > compression_ratio("a quick brown fox jumps over it")
    assert loops("and then and then and then and then")
    assert not loops("nine nine nine nine two")
    assert loops("no " * 8)
    assert token_cap(10, "en", None) == 76
    assert token_cap(10, "ja", None) == 166
    assert token_cap(10, None, 20) == 20
    fast = WindowResult(0, "Eight. Eight." * 3, (1,), -0.1, 0.0, 0.0)
    assert judge(fast, PipelineOptions(), 0.5) == {"too_dense"}


def test_a_short_word_said_twice_is_heard_again_between_other_silences(
    save: Callable[..., Path], clips: list
) -> None:
    word = clips[1][1][3000:11000]
    path = save(np.concatenate([np.zeros(4000, np.float32), word, np.zeros(8000, np.float32)]))
    calls: list[int] = []

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        calls.append(len(request.samples))
        return replace(result, text="Seventy. Seventy." if len(calls) < 3 else "Seventy.")

    transcript = row(path, FakeRecognizer(speak))
    assert transcript.text == "Seventy."
    assert "recovered" in transcript.windows[0].flags
    assert len(set(calls)) == len(calls) == 3
    always = row(path, FakeRecognizer(lambda _, result: replace(result, text="Seventy. Seventy.")))
    assert always.text == "Seventy. Seventy."  # flagged, not cut
    assert "too_dense" in always.windows[0].flags
