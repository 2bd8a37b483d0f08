"""Long rows in spans, the language of a row, and what spans come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, joined, row, run_units, speech_seconds

from asr_batch.manifests.records import AudioItem, Failure, SpanResult, Unit, WindowRecord
from asr_batch.models.recognizer import WindowRequest, WindowResult
from asr_batch.pipeline.audio.reader import AudioInfo, probe
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.windows import spans as split
from asr_batch.pipeline.windows.spans import split_item

Clips = list[tuple[str, np.ndarray]]
Save = Callable[..., Path]


def test_rows_are_split_by_duration_alone() -> None:
    item = AudioItem("a", "a", "a")
    for duration, seekable, count in (
        (1199.0, True, 1),
        (1201.0, True, 3),
        (10800.0, True, 18),
        (10800.0, False, 1),
    ):
        units = split_item(item, AudioInfo(duration, RATE, 1, "x", seekable))
        assert len(units) == count
        assert [unit.index for unit in units] == list(range(count))
        assert {unit.count for unit in units} == {count}
        assert sum(unit.seconds for unit in units) == pytest.approx(duration)
        assert (units[0].soft_start, units[-1].soft_end, units[-1].end) == (False, False, None)
        for left, right in pairwise(units):
            assert left.end == right.start
            assert left.soft_end
            assert right.soft_start
    assert len(split_item(replace(item, start=100.0, end=200.0), AudioInfo(9e4, RATE, 1, "x", True))) == 1
    assert [unit.end for unit in split_item(item, None)] == [None]


@pytest.fixture
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "LONG", 40.0)
    monkeypatch.setattr(split, "SPAN", 20.0)


@pytest.mark.usefixtures("short_spans")
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_spans_meet_whoever_decodes_them(save: Save, clips: Clips, plain: bool, rate: int) -> None:
    import soxr

    samples = joined(clips * 2, 0.3)
    path = save(samples if rate == RATE else soxr.resample(samples, RATE, rate), "long.flac", rate)
    item, info = AudioItem("row", "a", str(path)), probe(path)
    units = split_item(item, info)
    assert len(units) >= 3
    options = PipelineOptions(plain=plain)
    together = run_units([(unit, path) for unit in units], FakeRecognizer(), options)
    apart: dict[tuple[str, int], SpanResult] = {}
    for unit in reversed(units):
        apart |= run_units([(unit, path)], FakeRecognizer(batch=1), options)
    bare = [replace(span, decode_seconds=0.0, windows=()) for span in together.values()]
    assert sorted(bare, key=lambda s: s.key) == sorted(
        (replace(span, decode_seconds=0.0, windows=()) for span in apart.values()), key=lambda s: s.key
    )
    transcript = assemble(item, list(together.values()))
    assert transcript.text == assemble(item, list(apart.values())).text
    check_tiling(transcript, 0.0, info.duration)
    if plain:
        assert [window.start for window in transcript.windows] == [
            10.0 * i for i in range(len(transcript.windows))
        ]
    else:
        for span in list(together.values())[1:]:
            at = round(span.start * RATE)
            assert np.sqrt(np.mean(samples[at - 160 : at + 160] ** 2)) < 0.02


def test_a_failed_span_leaves_a_hole_that_is_told(save: Save, clips: Clips) -> None:
    path = save(joined(clips[:4], 0.3))
    length = probe(path).duration
    item = AudioItem("row", "a", str(path))
    good = run_units([(Unit(item, 0, 2, 0.0, 6.0), path)], FakeRecognizer(), PipelineOptions())
    lost = SpanResult(("row", 1), 6.0, length, failure=Failure("worker_crashed", "the worker went away"))
    transcript = assemble(item, [lost, *good.values()])
    assert (transcript.status, transcript.error_code) == ("partial", "worker_crashed")
    assert transcript.text
    assert transcript.uncovered[-1] == (6.0, length)
    assert 0 < transcript.coverage < 1
    check_tiling(transcript, 0.0, length)
    assert assemble(item, [lost]).status == "failed"
    assert assemble(item, []).error_code == "internal_error"


class Linguist(FakeRecognizer):
    """Knows German by speech that is there, and takes silence for French."""

    def detect_language(self, windows: Sequence[np.ndarray]) -> list[dict[str, float]]:
        self.asked = getattr(self, "asked", 0) + 1
        self.windows = len(windows)
        spoken = [speech_seconds(window) > 1.0 for window in windows]
        return [{"de": 0.7, "nl": 0.2, "fr": 0.1} if s else {"fr": 0.9, "de": 0.1} for s in spoken]


def linguist() -> Linguist:
    return Linguist(languages=("de", "fr", "nl"))


def test_the_language_is_voted_by_windows_that_speak(save: Save, clips: Clips) -> None:
    path = save(np.concatenate([np.zeros(60 * RATE, np.float32), joined(clips[:4], 0.3)]))
    recognizer = linguist()
    transcript = row(path, recognizer)
    assert transcript.language == "de"
    assert transcript.language_prob == pytest.approx(0.7)
    assert {request.options.language for request in recognizer.requests} == {"de"}
    assert row(path, linguist(), PipelineOptions(languages=("nl", "fr"))).language == "nl"


class Polyglot(FakeRecognizer):
    """Loud windows are Spanish, which it is not sure of, faint ones French; its texts are likelier so."""

    spanish = 0.35

    def detect_language(self, windows: Sequence[np.ndarray]) -> list[dict[str, float]]:
        es = self.spanish
        return [{"it": 0.9 - es, "es": es, "fr": 0.1} if loud(w) else {"fr": 0.8, "es": 0.2} for w in windows]


def loud(samples: np.ndarray) -> bool:
    return bool(np.abs(samples).max() > 0.25)


def in_its_language(request: WindowRequest, result: WindowResult) -> WindowResult:
    spoken = "es" if loud(request.samples) else "fr"
    language = request.options.language
    return replace(result, language=language, avg_logprob=-0.2 if language == spoken else -0.7)


def polyglot() -> Polyglot:
    return Polyglot(in_its_language, languages=("es", "fr", "it"))


def test_where_the_language_is_unsure_the_likelier_text_stands(save: Save, clips: Clips) -> None:
    transcript = row(save(0.9 * clips[0][1] / np.abs(clips[0][1]).max()), polyglot())
    assert (transcript.language, transcript.language_prob) == ("es", None)
    (window,) = transcript.windows
    assert window.language == "es"
    assert "in it" in [other.source for other in window.hypotheses]


def test_a_row_that_changes_its_language_is_written_in_both(save: Save, clips: Clips) -> None:
    spoken = joined(clips, 0.4)
    spoken *= 0.9 / np.abs(spoken).max()
    recognizer = polyglot()
    recognizer.spanish = 0.6
    transcript = row(save(np.concatenate([spoken, spoken, 0.27 * spoken])), recognizer)
    boundary = 2 * len(spoken) / RATE
    for window in transcript.windows:
        if window.text and window.end < boundary:
            assert window.language == "es"
        elif window.text and window.start > boundary + 1:
            assert window.language == "fr"
    assert transcript.language == "es"
    assert row(save(spoken), recognizer, language="it").language == "it"


def test_a_given_language_is_taken_and_an_unknown_one_refused(save: Save, clips: Clips) -> None:
    path = save(clips[0][1])
    recognizer = linguist()
    transcript = row(path, recognizer, language="fr")
    assert (transcript.language, transcript.language_prob) == ("fr", None)
    assert not hasattr(recognizer, "asked")
    assert row(path, linguist(), PipelineOptions(language="nl")).language == "nl"
    assert row(path, linguist(), language="xx").error_code == "bad_language"


@pytest.mark.usefixtures("short_spans")
def test_the_spans_of_a_row_vote_once_and_alike(save: Save, clips: Clips) -> None:
    path = save(joined(clips * 2, 0.3))
    item = AudioItem("row", "a", str(path))
    recognizer = linguist()
    spans = run_units([(u, path) for u in split_item(item, probe(path))], recognizer, PipelineOptions())
    assert len(spans) >= 3
    assert recognizer.asked == 1
    assert recognizer.windows == 5
    assert {(span.language, round(span.language_prob or 0, 6)) for span in spans.values()} == {("de", 0.7)}


def test_the_transcriber_wants_units_until_its_slots_are_full(save: Save, clips: Clips) -> None:
    from asr_batch.pipeline.transcribe import Transcriber

    path = save(clips[1][1])
    recognizer = FakeRecognizer(batch=4)
    transcriber = Transcriber(recognizer, PipelineOptions())
    assert transcriber.room() >= 4
    count = 0
    while transcriber.room() and count < 99:
        transcriber.add(Unit(AudioItem(str(count), "a", str(path)), seconds=2.7), path)
        count += 1
    assert 4 <= count <= 16
    assert len(transcriber.open_units()) == count
    done = []
    while transcriber.open_units():
        assert set(transcriber.progress()) == {unit.key for unit in transcriber.open_units()}
        done += transcriber.advance(1)
    assert len(done) == count
    assert all(result.audio_sha256 and result.decoded_seconds > 2 for result in done)
    transcriber.close()
    assert recognizer.closed


def test_coverage_is_what_the_uncovered_stretches_say() -> None:
    """A stretch holds short pauses too: it may be longer than the speech that its window counts."""
    window = WindowRecord(
        0, 0.0, 10.0, 0.0, 10.0, "end", "so it is", speech=3.0, flags=("recovered", "uncovered"),
        uncovered=((1.0, 2.1), (2.4, 5.0)),
    )  # fmt: skip
    more = replace(
        window, index=1, start=10.0, end=20.0, keep_start=10.0, keep_end=20.0, speech=9.0, uncovered=()
    )
    item = AudioItem("row", "a", "a")
    transcript = assemble(item, [SpanResult(("row", 0), 0.0, 20.0, (window, more))])
    lost = sum(end - start for start, end in transcript.uncovered)
    assert lost == pytest.approx(3.7)
    assert transcript.coverage == pytest.approx(1 - lost / transcript.speech)
