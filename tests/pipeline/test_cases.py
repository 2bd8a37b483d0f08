"""The cases of lost and doubled speech, with real audio and the bundled model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pipeline_lab import AUDIO, RATE, FakeRecognizer, check_tiling, joined, row, run_units

from asr_batch.manifests.records import AudioItem, Transcript, Unit
from asr_batch.models.recognizer import Recognizer
from asr_batch.pipeline.audio.frames import Measured
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.text.words import normal_words
from asr_batch.pipeline.windows.planning import Window

Clips = list[tuple[str, np.ndarray]]
Save = Callable[..., Path]


def said(clips: Clips) -> list[str]:
    return [word for text, _ in clips for word in normal_words(text.replace("-", " "))]


def heard(transcript: Transcript) -> list[str]:
    return normal_words(transcript.text.replace("-", " "))


def every(clips: Clips, seconds: float, offset: float, total: float) -> np.ndarray:
    """A clip every so many seconds, the first at `offset`, over faint noise."""
    samples = np.random.default_rng(2).normal(0, 1e-4, round(total * RATE)).astype(np.float32)
    for index, (_, clip) in enumerate(clips):
        at = round((offset + index * seconds) * RATE)
        samples[at : at + len(clip)] += clip
    return samples


@pytest.mark.parametrize("offset", [0.0, 0.7, 2.3, 4.1, 6.4])
def test_something_said_every_seven_seconds(
    nano: Recognizer, save: Save, clips: Clips, offset: float
) -> None:
    chosen = clips[1:8]
    transcript = row(save(every(chosen, 7.0, offset, 60.0)), nano)
    assert heard(transcript) == said(chosen)
    assert transcript.status == "ok"
    check_tiling(transcript, 0.0, 60.0)


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(70))
def test_the_same_for_every_tenth_of_a_second(nano: Recognizer, save: Save, clips: Clips, tenth: int) -> None:
    chosen = clips[1:8]
    transcript = row(save(every(chosen, 7.0, tenth / 10, 60.0)), nano)
    assert heard(transcript) == said(chosen)


@pytest.mark.parametrize("gap", [0.08, 0.3, 1.0])
def test_clips_one_after_the_other(nano: Recognizer, save: Save, clips: Clips, gap: float) -> None:
    transcript = row(save(joined(clips, gap)), nano)
    words, expected = heard(transcript), said(clips)
    assert words == expected or len(set(expected) ^ set(words)) <= 2
    assert transcript.coverage == 1.0
    check_tiling(transcript, 0.0, transcript.duration)
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)


def test_twenty_seconds_of_silence_between(nano: Recognizer, save: Save, clips: Clips) -> None:
    transcript = row(save(joined(clips[:4], 20.0)), nano)
    assert heard(transcript) == said(clips[:4])
    assert sum(window.end - window.start for window in transcript.windows if "silence" in window.flags) > 60


@pytest.mark.parametrize("level", [-45.0, -60.0])
def test_faint_speech_is_the_same_speech(nano: Recognizer, save: Save, clips: Clips, level: float) -> None:
    samples = joined(clips[3:9], 0.5, noise=0)
    factor = 10 ** (level / 20) / np.sqrt(np.mean(samples**2))
    transcript = row(save(samples * np.float32(factor), subtype="FLOAT"), nano)
    assert heard(transcript) == said(clips[3:9])
    assert transcript.status == "ok"


SOUNDS = {
    "digital silence": lambda t: 0 * t,
    "white noise": lambda t: np.random.default_rng(0).normal(0, 0.05, len(t)),
    "a sine": lambda t: 0.3 * np.sin(2 * np.pi * 440 * t),
    "a hum": lambda t: 0.1 * np.sin(2 * np.pi * 120 * t) + 0.02 * np.sin(2 * np.pi * 240 * t),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_without_speech_is_empty(nano: Recognizer, save: Save, name: str) -> None:
    transcript = row(save(SOUNDS[name](np.arange(25 * RATE) / RATE).astype(np.float32)), nano)
    assert (transcript.status, transcript.text, transcript.speech) == ("empty", "", 0.0)
    assert transcript.coverage == 1.0
    check_tiling(transcript, 0.0, 25.0)


def music(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    notes = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4, 9, 5]) / 12)
    tone = notes[(t / 0.5).astype(int) % 8]
    return (
        sum(0.1 / h * np.sin(2 * np.pi * h * tone * t) for h in (1, 2, 3)) * np.exp(-(t % 0.5) * 3)
    ).astype(np.float32)


def test_text_over_music_is_flagged_and_speech_after_it_is_kept(
    nano: Recognizer, save: Save, clips: Clips
) -> None:
    transcript = row(save(np.concatenate([music(20), clips[1][1]])), nano)
    flagged = [window for window in transcript.windows if "suspect_hallucination" in window.flags]
    assert flagged
    left_out = [any(other.source == "left out" for other in window.hypotheses) for window in flagged]
    assert all(window.end <= 20.5 or left for window, left in zip(flagged, left_out, strict=True))
    assert heard(transcript)[-len(said(clips[1:2])) :] == said(clips[1:2])


def test_speech_at_the_very_end(nano: Recognizer, save: Save, clips: Clips) -> None:
    transcript = row(save(np.concatenate([np.zeros(43 * RATE, np.float32), clips[3][1]])), nano)
    assert heard(transcript) == said(clips[3:4])
    assert transcript.coverage == 1.0


@pytest.mark.parametrize("more", [-1, 0, 1, 160_000])
def test_lengths_at_the_window(nano: Recognizer, save: Save, clips: Clips, more: int) -> None:
    clips = clips[5:]  # cut off behind ten seconds of the first five, the model repeats itself
    samples = joined(clips, 0.3)[: 10 * RATE + more]
    transcript = row(save(samples), nano)
    assert transcript.duration == len(samples) / RATE
    check_tiling(transcript, 0.0, len(samples) / RATE)
    assert len(set(heard(transcript)) & set(said(clips)[:17])) >= 12
    if more <= 0:
        assert len(transcript.windows) == 1


def test_two_speakers_on_two_channels(nano: Recognizer, save: Save, clips: Clips) -> None:
    left, right = joined(clips[:2], 0.5), joined(clips[2:5], 0.5)
    length = max(len(left), len(right))
    stereo = np.stack([np.pad(side, (0, length - len(side))) for side in (left, right)], axis=1)
    path = save(stereo)
    transcript = row(path, nano, channel="split")
    for channel, chosen in ((0, clips[:2]), (1, clips[2:5])):
        text = " ".join(s.text for s in transcript.segments if s.channel == channel)
        assert normal_words(text.replace("-", " ")) == said(chosen)
    assert [s.start for s in transcript.segments] == sorted(s.start for s in transcript.segments)
    check_tiling(transcript, 0.0, length / RATE)
    alone = row(path, nano, channel="1")
    assert heard(alone) == said(clips[2:5])


def facts(transcript: Transcript) -> list[object]:
    return [(w.start, w.end, w.cut, w.text, w.flags, w.tokens) for w in transcript.windows]


def test_neither_order_nor_company_changes_a_transcript(nano: Recognizer, save: Save, clips: Clips) -> None:
    paths = [save(joined(clips[i:] + clips[:i], 0.3 + i / 10), f"{i}.wav") for i in range(4)]
    items = [AudioItem(str(i), "a", str(path)) for i, path in enumerate(paths)]
    alone = {item.id: facts(row(path, nano)) for item, path in zip(items, paths, strict=True)}
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        spans = run_units([(Unit(items[i]), paths[i]) for i in order], nano, PipelineOptions())
        assert {key[0]: facts(assemble(items[int(key[0])], [span])) for key, span in spans.items()} == alone


@pytest.mark.parametrize("kind", ["silence", "stride"])
def test_results_in_any_order_and_any_batch(save: Save, clips: Clips, kind: str) -> None:
    path = save(joined(clips * 2, 0.2))
    options = PipelineOptions(planner=kind)  # type: ignore[arg-type]
    one = row(path, FakeRecognizer(batch=1), options)
    for batch in (2, 8):
        other = row(path, FakeRecognizer(batch=batch, shuffled=True), options)
        assert facts(other) == facts(one)


def test_word_times(nano: Recognizer, save: Save, clips: Clips) -> None:
    transcript = row(save(joined(clips[:5], 0.5)), nano, PipelineOptions(word_timestamps=True))
    assert transcript.words is not None
    assert [word.word for word in transcript.words] == transcript.text.split()
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    assert all(0 <= word.start <= word.end <= transcript.duration for word in transcript.words)
    second = len(clips[0][1]) / RATE + 0.5
    first_of_second = transcript.words[len(clips[0][0].split())]
    assert first_of_second.start == pytest.approx(second, abs=0.5)
    guessed = row(save(joined(clips[:2], 0.5)), FakeRecognizer(), PipelineOptions(word_timestamps=True))
    assert guessed.words
    assert all("approximate_words" in window.flags for window in guessed.windows if window.text)


@pytest.mark.parametrize(("end", "resume"), [(1.2, 0.82), (1.54, 0.48), (1.54, 1.0), (1.84, 1.12)])
def test_a_word_said_twice_across_a_forced_cut_comes_twice(
    nano: Recognizer, save: Save, clips: Clips, monkeypatch: pytest.MonkeyPatch, end: float, resume: float
) -> None:
    """Said "four four", with the seam behind it, between its words and in front."""
    clip = next(clip for text, clip in clips if text.startswith("Call Rosa at four"))
    first, last = round(0.82 * RATE), round(1.12 * RATE)  # "four"
    doubled = np.concatenate([clip[:last], clip[first:last], clip[last:]])

    def planned(measured: Iterable[Measured], *_: object) -> Iterator[Window]:
        parts = list(measured)
        samples, level, speech = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("samples", "level", "speech")
        )
        stop, start = round(end * 100), round(resume * 100)
        yield Window(0, 0, stop * 160, "forced", samples[: stop * 160], level[:stop], speech[:stop])
        rest = (samples[start * 160 :], level[start:], speech[start:])
        yield Window(1, start * 160, len(samples), "end", *rest)

    monkeypatch.setattr("asr_batch.pipeline.track.plan", planned)
    transcript = row(save(doubled), nano)
    assert [window.cut for window in transcript.windows] == ["forced", "end"]
    assert " ".join(heard(transcript)) == "call rosa at four four nine three nine five six eight"
    check_tiling(transcript, 0.0, len(doubled) / RATE)


def digits() -> Clips:
    """The ten digits by two synthesised voices (flite's slt, espeak-ng's en-gb)."""
    folder = AUDIO / "digits"
    return [
        (path.stem.rsplit("-", 1)[1], soundfile.read(path, dtype="float32")[0])
        for path in sorted(folder.glob("*.flac"))
    ]


def check_digits(nano: Recognizer, save: Save, offset: float) -> None:
    """A digit every 7 s for ten minutes: each comes once, in its place."""
    spoken = digits()
    chosen = [spoken[i] for i in np.random.default_rng(round(10 * offset)).integers(len(spoken), size=85)]
    transcript = row(save(every(chosen, 7, offset, 600)), nano)
    assert heard(transcript) == said(chosen)
    assert transcript.status == "ok"
    check_tiling(transcript, 0.0, 600.0)


def test_a_digit_every_seven_seconds(nano: Recognizer, save: Save) -> None:
    check_digits(nano, save, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(10))
def test_a_digit_every_seven_seconds_from_any_place(nano: Recognizer, save: Save, tenth: int) -> None:
    check_digits(nano, save, tenth / 10)
