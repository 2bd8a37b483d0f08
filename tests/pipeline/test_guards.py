"""Decoders that misbehave: repaired or flagged, never silent."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, joined, row

from asr_batch.models.recognizer import DecodeOptions, TimedText, WindowRequest, WindowResult
from asr_batch.pipeline.decoding import decode
from asr_batch.pipeline.guards import judge
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome, within_audio, without_words
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.requests import token_cap
from asr_batch.pipeline.text.repetition import compression_ratio, is_loop
from asr_batch.pipeline.thresholds import ASTRAY

Speak = Callable[[WindowRequest, WindowResult], WindowResult]


@pytest.fixture
def talk(save: Callable[..., Path], clips: list) -> Path:
    """Some 33 s of speech with pauses."""
    return save(joined(clips, 0.4))


def words(count: int) -> str:
    return " ".join(f"word{index}" for index in range(count))


def test_a_good_decoder_is_asked_once_per_window(talk: Path) -> None:
    recognizer = FakeRecognizer()
    transcript = row(talk, recognizer)
    assert transcript.status == "ok"
    assert len(recognizer.requests) == len(transcript.windows)
    assert transcript.text == " ".join(window.text for window in transcript.windows)
    assert transcript.coverage == 1.0
    assert all(request.options.suppress_first_eot for request in recognizer.requests)
    assert all(request.options.max_new_tokens for request in recognizer.requests)


def test_likelier_texts_are_looked_for_where_the_model_can(talk: Path) -> None:
    def searched(can: frozenset[str], options: PipelineOptions) -> set[bool]:
        recognizer = FakeRecognizer(can=can)
        row(talk, recognizer, options)
        return {request.options.search for request in recognizer.requests}

    able = frozenset({"beam"})
    assert searched(able, PipelineOptions()) == {True}
    assert searched(frozenset(), PipelineOptions()) == {False}
    assert searched(able, PipelineOptions(beam_size=5)) == {False}
    assert searched(able, PipelineOptions(plain=True)) == {False}


def first_try(trouble: Callable[[WindowResult], WindowResult]) -> Speak:
    """Trouble with each window when it is first decoded; what is heard again goes well."""

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        _, (_, number) = request.key  # type: ignore[misc]
        return trouble(result) if number >= 0 else result

    return speak


FAULTS = {
    "loop": lambda result: replace(result, text=" ".join(["so it is"] * 40)),
    "unlikely": lambda result: replace(result, avg_logprob=-1.7),
    "nan": lambda result: replace(
        result, text="", tokens=(), avg_logprob=math.nan, error="NaN in the logits"
    ),
    "endless": lambda result: replace(result, text=" ".join(["nine"] * 70), truncated=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_mended_by_hearing_again_in_the_running_batch(talk: Path, name: str) -> None:
    recognizer = FakeRecognizer(first_try(FAULTS[name]))
    transcript = row(talk, recognizer, PipelineOptions(repair_budget=2.0))
    assert transcript.status == "ok"
    mended = [window for window in transcript.windows if "recovered" in window.flags]
    assert mended
    assert all(window.hypotheses for window in mended)


def test_a_decoder_that_always_fails_is_a_partial_row(talk: Path) -> None:
    recognizer = FakeRecognizer(lambda _, result: FAULTS["nan"](result))
    transcript = row(talk, recognizer)
    assert (transcript.status, transcript.error_code) == ("partial", "decode_failed")
    assert transcript.coverage < 0.05
    assert sum(end - start for start, end in transcript.uncovered) > 20
    check_tiling(transcript, 0.0, transcript.duration)


@pytest.mark.parametrize(
    ("looped", "kept"),
    [
        ("well " + " ".join(["so it is"] * 40), "well so it is"),
        ("well ta" + 60 * "cha", "well tach"),
        (30 * "ありがとう。", "ありがとう。"),
    ],
)
def test_a_loop_that_never_ends_is_cut_off_where_it_begins(talk: Path, looped: str, kept: str) -> None:
    def speak(_: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, text=looped, truncated=True)

    transcript = row(talk, FakeRecognizer(speak), PipelineOptions(repair_budget=9.0))
    assert all("repetition" in window.flags for window in transcript.windows)
    assert {window.text for window in transcript.windows} == {kept}
    assert all("looped" in [other.source for other in window.hypotheses] for window in transcript.windows)


def test_what_is_said_again_and_again_stays(save: Callable[..., Path], clips: list) -> None:
    """Each utterance says the same, alone as in the window: that is no loop of the decoder."""
    path = save(np.tile(np.r_[clips[1][1], np.zeros(RATE // 2, np.float32)], 5))
    path_seconds = 5 * (len(clips[1][1]) / RATE + 0.5)
    once = "this is said again"

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        times = max(1, round(5 * len(request.samples) / RATE / path_seconds))
        return replace(result, text=" ".join([once] * times))

    transcript = row(path, FakeRecognizer(speak, window=30.0), PipelineOptions(repair_budget=9.0))
    assert transcript.text == " ".join([once] * 5)
    assert transcript.status == "ok"


def test_a_loop_among_real_repetitions_is_counted_by_the_audio(
    save: Callable[..., Path], clips: list
) -> None:
    """The window as a whole says it twice as often, and is more sure of it."""
    path = save(np.tile(np.r_[clips[1][1], np.zeros(RATE // 2, np.float32)], 5))
    seconds = len(clips[1][1]) / RATE + 0.5
    once = " ".join(["seven"] * round((seconds - 0.5) / 0.52))  # as long to say as the clip

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        times = max(1, round(len(request.samples) / RATE / seconds))
        whole = times > 1
        text = " ".join([f"{once}."] * (2 * times if whole else 1))
        return replace(result, text=text, avg_logprob=-0.1 if whole else -0.6)

    transcript = row(path, FakeRecognizer(speak, window=30.0), PipelineOptions(repair_budget=9.0))
    assert transcript.text == " ".join([f"{once}."] * 5)


def test_what_the_prompt_put_in_its_mouth_is_heard_again_without_it(talk: Path) -> None:
    shown = "the meeting is closed now"

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, text=result.text + " " + shown) if request.options.prompt else result

    transcript = row(talk, FakeRecognizer(speak), PipelineOptions(repair_budget=9.0), prompt=f"{shown} " * 60)
    assert shown not in transcript.text
    assert transcript.status == "ok"
    said = row(
        talk,
        FakeRecognizer(lambda _, r: replace(r, text=shown)),
        PipelineOptions(repair_budget=9.0),
        prompt=shown,
    )
    assert shown in said.text  # it says so without the prompt too
    assert not any("prompt_echo" in window.flags for window in said.windows)


def test_said_once_and_shown_often_is_written_once(talk: Path) -> None:
    """The words are heard without the prompt too, but not as often as with it."""
    shown = "the meeting is closed now"

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        once = f"{shown}, they say about {request.key[1][0]}"  # type: ignore[index]
        return replace(result, text=f"{once} {shown} {shown}" if request.options.prompt else once)

    transcript = row(talk, FakeRecognizer(speak), PipelineOptions(repair_budget=9.0), prompt=f"{shown} " * 60)
    assert [window.text.count(shown) for window in transcript.windows] == [1] * len(transcript.windows)
    assert all("recovered" in window.flags for window in transcript.windows)


def test_a_window_that_a_prompt_silences_is_heard_without_it(talk: Path) -> None:
    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, text=".", tokens=(1,), avg_logprob=-1.2) if request.options.prompt else result

    transcript = row(talk, FakeRecognizer(speak), PipelineOptions(repair_budget=9.0), prompt="said already")
    assert transcript.status == "ok"
    assert all("recovered" in window.flags for window in transcript.windows)
    assert all("w" in window.text for window in transcript.windows)


def test_words_far_from_any_speech_are_left_out() -> None:
    speech = np.zeros(1000, np.float32)
    speech[600:900] = 0.9
    places = tuple(
        TimedText(*place)
        for place in ((0.0, 0.5, "you"), (4.0, 5.2, "you"), (5.4, 6.5, "the"), (6.5, 9, "end"))
    )
    result = WindowResult("w", "you you the end", (1, 2, 3, 4), -0.1, 0.1, places=places)
    window = DecodedWindow(0, 0, 160_000, "end", np.full(1000, -20, np.float32), speech, Outcome(result))
    assert window.astray == {0}  # the second one ends less than a second before the speech
    kept = without_words(result, window.astray)
    assert kept.text == "you the end"
    assert kept.places == places[1:]
    window.confirmed = ((0, 500),)  # rounds in music, beside a speaker
    assert window.astray == {0}
    window.confirmed = ((0, 1000),)  # rounds of which Silero hears the last ones only
    assert not window.astray
    window.speech = np.zeros(1000, np.float32)
    assert not window.astray  # a window without speech is judged as a whole
    window.speech, window.outcome = speech, Outcome(replace(result, places=()))
    assert not window.astray


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
    assert [window.index for window in recovered] == [2]
    assert recovered[0].words_per_second > 2
    assert recovered[0].hypotheses


def test_words_astray_are_those_far_from_all_speech() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        speech = np.repeat(rng.random(30) < 0.2, 100).astype(np.float16)
        starts = np.sort(rng.uniform(0, 30, 25))
        places = tuple(
            TimedText(float(start), float(start + rng.uniform(0, 2)), f"w{i}")
            for i, start in enumerate(starts)
        )
        text = " ".join(place.text for place in places)
        said = WindowResult("w", text, (), -0.1, 0.1, places=places)
        window = DecodedWindow(0, 0, 30 * RATE, "end", np.zeros_like(speech), speech, Outcome(said))
        heard = np.flatnonzero(speech >= 0.5) / 100
        far = [np.maximum(place.start - heard, heard - place.end).min() > ASTRAY for place in places]
        assert window.astray == set(np.flatnonzero(far).tolist())


def test_a_window_in_a_known_language_keeps_no_samples_while_it_is_decoded() -> None:
    samples = np.zeros(RATE, np.float32)
    alive = weakref.ref(samples)
    decoding = decode(samples, DecodeOptions(), PipelineOptions(), 1.0, None)
    (request,) = next(decoding)
    assert request.samples is samples
    del samples, request
    assert alive() is None
    decoding.close()


def test_the_budget_bounds_what_repairs_decode(save: Callable[..., Path], clips: list) -> None:
    path = save(joined(clips * 6, 0.4))
    recognizer = FakeRecognizer(lambda _, result: replace(result, text="", tokens=()))
    transcript = row(path, recognizer, PipelineOptions(repair_budget=0.4))
    decoded = sum(len(request.samples) for request in recognizer.requests) / RATE
    assert decoded < 1.4 * transcript.duration + 1
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
    """A bare window of nine seconds: the other ways alone would take most of what is allowed."""
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
    assert decoded <= 60


def rustle(save: Callable[..., Path]) -> Path:
    rng = np.random.default_rng(1)
    hiss = rng.normal(0, 1, 12 * RATE) * (0.002 + 0.02 * (np.sin(np.arange(12 * RATE) / 9000) > 0.9))
    return save(hiss.astype(np.float32))


def invents(no_speech: float, logprob: float) -> Speak:
    return lambda _, result: replace(
        result, text="thanks for watching", no_speech_prob=no_speech, avg_logprob=logprob
    )


@pytest.mark.parametrize(("no_speech", "logprob"), [(0.9, -0.7), (0.2, -1.8), (math.nan, -0.6)])
def test_text_where_all_witnesses_hear_nobody_is_left_out(
    save: Callable[..., Path], no_speech: float, logprob: float
) -> None:
    transcript = row(rustle(save), FakeRecognizer(invents(no_speech, logprob)))
    assert (transcript.text, transcript.status) == ("", "empty")
    for window in transcript.windows:
        if "silence" in window.flags:
            continue
        assert "suspect_hallucination" in window.flags
        assert [other.text for other in window.hypotheses] == ["thanks for watching"]


def test_text_that_one_witness_supports_is_flagged_and_goes_only_on_request(
    save: Callable[..., Path],
) -> None:
    path, sure = rustle(save), invents(0.05, -0.1)
    transcript = row(path, FakeRecognizer(sure))
    assert transcript.text
    assert all("suspect_hallucination" in window.flags for window in transcript.windows if window.text)
    bare = row(path, FakeRecognizer(sure), PipelineOptions(drop_hallucinations=True))
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
    assert is_loop("and then and then and then and then")
    assert not is_loop("nine nine nine nine two")
    assert is_loop("no " * 8)
    assert token_cap(10, "en", None) == 76
    assert token_cap(10, "ja", None) == 166
    assert token_cap(10, None, 20) == 20
    fast = WindowResult(0, "Eight. Eight. " * 3, (1,), -0.1, 0.0)
    assert judge(fast, 0.5) == {"too_dense"}


def heard_at(text: str, starts: list[float], end: float) -> WindowResult:
    ends = [*starts[1:], end]
    places = [TimedText(a, b, word) for a, b, word in zip(starts, ends, text.split(), strict=True)]
    return WindowResult("w", text, (), -0.1, 0.1, places=tuple(places))


def test_a_sentence_found_again_in_the_silence_behind_the_audio_is_written_once() -> None:
    once = within_audio(heard_at("It is. Say so. Say so.", [0, 1, 2, 3, 4, 4], 4))
    assert once.text == "It is. Say so."
    assert [place.text for place in once.places] == ["It", "is.", "Say", "so."]


def test_a_sentence_written_again_in_no_time_is_written_once() -> None:
    once = within_audio(heard_at("It is. Say it so. Say it so.", [0, 1, 2, 2.5, 3, 4, 4, 4], 4.1))
    assert once.text == "It is. Say it so."


@pytest.mark.parametrize(
    "result",
    [
        heard_at("It is. Say so. Say so.", [0, 1, 2, 3, 3.6, 3.8], 4),  # said twice: the audio has both
        heard_at("It is. Say so. Not now.", [0, 1, 2, 3, 4, 4], 4),
        heard_at("Say so.", [4, 4], 4),
        heard_at("No. No.", [4, 4], 4),
        heard_at("No. No.", [0, 1], 1.15),
        replace(heard_at("Say so. Say so.", [0, 1, 4, 4], 4), places=()),
    ],
)
def test_other_words_at_the_end_stay(result: WindowResult) -> None:
    assert within_audio(result) is result


def test_what_is_left_out_behind_the_audio_is_a_hypothesis(talk: Path) -> None:
    def twice(request: WindowRequest, result: WindowResult) -> WindowResult:
        count, end = len(result.text.split()), len(request.samples) / RATE
        return replace(
            heard_at(f"{result.text} {result.text}", [0.0] * count + [end] * count, end), key=result.key
        )

    transcript = row(talk, FakeRecognizer(twice), PipelineOptions(repair_budget=0))
    assert transcript.text == row(talk, FakeRecognizer()).text
    assert all(window.hypotheses[0].source == "repeated behind the audio" for window in transcript.windows)


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        (" ".join(f"Знак для буквы {name} в американском языке жестов." for name in "KOH"), False),
        (" ".join(f"Znak dla litery {name} w amerykańskim języku migowym." for name in "KOH"), False),
        ("Знак для буквы K в американском языке" * 6, True),
        ("ご視聴ありがとうございました" * 6, True),
        ("so it is, or so it was, and " * 9, True),
    ],
    ids=["Russian", "Polish", "a Russian loop", "a Japanese loop", "an English loop"],
)
def test_the_script_of_a_text_does_not_make_it_repetitive(text: str, repeated: bool) -> None:
    result = WindowResult("", text, (1,), -0.1, 0.0)
    assert ("repetition" in judge(result, 60.0)) is repeated
