"""Long rows in spans, the language of a row, and what spans come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, joined, run_units

from asr_batch.manifests.records import AudioItem, Failure, SpanResult, Unit, WindowRecord
from asr_batch.pipeline.audio.reader import AudioInfo, probe
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.transcribe import Transcriber
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


def test_the_transcriber_wants_units_until_its_slots_are_full(save: Save, clips: Clips) -> None:
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


def test_a_file_whose_hash_the_driver_knows_is_not_hashed_again(save: Save, clips: Clips) -> None:
    path = save(clips[1][1])
    for hashed in (False, True):
        transcriber = Transcriber(FakeRecognizer(), PipelineOptions())
        transcriber.add(Unit(AudioItem("a", "a", str(path)), seconds=2.7, hashed=hashed), path)
        (result,) = transcriber.advance(10)
        assert bool(result.audio_sha256) is not hashed
        transcriber.close()


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
