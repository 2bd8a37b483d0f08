"""The engine on real speech with the bundled model: batches, beams, words."""

from __future__ import annotations

import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, WindowRequest, WindowResult
from asr_batch.models.whisper import recognizer
from asr_batch.models.whisper.engine.beam import _places
from asr_batch.models.whisper.engine.words import split_words, token_starts
from asr_batch.pipeline.text.words import words_of

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "bundled" / "nano.en"
Tokens = tuple[int, ...]


def speech() -> np.ndarray:
    """Some of the examples at 16 kHz in one array."""
    parts = []
    for name in ("lecture.ogg", "message.ogg", "studio.flac", "voice memo.flac"):
        samples, rate = soundfile.read(ROOT / "examples" / name, dtype="float32", always_2d=True)
        parts.append(soxr.resample(samples[:, 0], rate, 16000))
    return np.concatenate(parts)


def windows(count: int, seed: int = 0) -> list[np.ndarray]:
    """Windows of 1 to 10 s from anywhere in the speech, each a little different in level."""
    rng = np.random.default_rng(seed)
    audio = speech()
    cut = []
    for _ in range(count):
        length = int(rng.uniform(1, 10) * 16000)
        start = int(rng.integers(0, max(1, len(audio) - length)))
        cut.append(audio[start : start + length] * np.float32(rng.uniform(0.5, 1.5)))
    return cut


def decode(requests: list[WindowRequest], slots: int, provider: str = "auto") -> dict[object, WindowResult]:
    model = load_recognizer(MODEL, LoadOptions(threads=2, batch_size=slots, provider=provider))
    waiting, results = list(requests), {}
    while waiting or model.pending():
        while waiting and model.room():
            model.submit(waiting.pop(0))
        results |= {result.key: result for result in model.poll()}
    model.close()
    return results


def check_invariance(clips: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    kinds = [DecodeOptions(), DecodeOptions(timestamps=True)]
    requests = [WindowRequest(i, clip, kinds[i % 2]) for i, clip in enumerate(clips)]
    first: list[tuple[object, ...]] | None = None
    for slots in (1, 2, 3, 8, 16):
        order = [requests[i] for i in rng.permutation(len(requests))]
        results = decode(order, slots)
        found = [(results[i].tokens, results[i].avg_logprob, results[i].places) for i in range(len(requests))]
        first = first or found
        assert found == first
    assert first is not None
    assert len(set(first)) > len(first) // 2


def test_text_does_not_depend_on_the_batch() -> None:
    check_invariance(windows(12))


@pytest.mark.slow
def test_text_of_300_windows_does_not_depend_on_the_batch() -> None:
    check_invariance(windows(300))


def test_words_are_in_order_and_inside_the_window() -> None:
    clip = windows(1, seed=3)[0]
    options = DecodeOptions(word_timestamps=True)
    result = decode([WindowRequest(0, clip, options)], 1)[0]
    assert result.words is not None
    assert " ".join(word.word for word in result.words) == result.text
    times = [time for word in result.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= len(clip) / 16000
    assert all(0 < word.prob <= 1 for word in result.words)


def test_word_times_follow_a_pause() -> None:
    """Silence put into the middle moves the words behind it, not those before it."""
    audio = speech()[: 3 * 16000]
    plain, moved = audio, np.concatenate([np.zeros(2 * 16000, np.float32), audio])
    options = DecodeOptions(word_timestamps=True)
    results = decode([WindowRequest(0, plain, options), WindowRequest(1, moved, options)], 2)
    first, second = results[0].words, results[1].words
    assert first
    assert second
    assert second[-1].end == pytest.approx(first[-1].end + 2, abs=0.5)


def test_beams_find_a_text_at_least_as_likely() -> None:
    clips = windows(4, seed=5)
    greedy = decode([WindowRequest(i, c, DecodeOptions()) for i, c in enumerate(clips)], 4)
    beams = decode([WindowRequest(i, c, DecodeOptions(beam_size=4)) for i, c in enumerate(clips)], 4)
    total = [sum(results[i].avg_logprob for i in range(4)) for results in (greedy, beams)]
    assert total[1] >= total[0] - 0.05


def test_one_beam_is_greedy_and_order_does_not_matter_beside_beams() -> None:
    clips = windows(3, seed=6)
    alone = decode([WindowRequest(0, clips[0], DecodeOptions())], 1)[0]
    mixed = decode(
        [WindowRequest(i, c, DecodeOptions(beam_size=1 + 2 * (i > 0))) for i, c in enumerate(clips)], 2
    )
    assert mixed[0].tokens == alone.tokens


def test_a_text_gives_way_to_a_likelier_one_close_to_it() -> None:
    clips = [clip[: 16000 * 3] for clip in windows(6, seed=7)]
    rng = np.random.default_rng(1)
    clips = [clip + rng.normal(0, 0.02, len(clip)).astype(np.float32) for clip in clips]
    greedy = decode([WindowRequest(i, c, DecodeOptions()) for i, c in enumerate(clips)], 4)
    search = DecodeOptions(search=True)
    found = decode([WindowRequest(i, c, search) for i, c in enumerate(clips)], 4)
    assert any(found[i].avg_logprob > greedy[i].avg_logprob for i in range(6))
    assert any(found[i].tokens != greedy[i].tokens for i in range(6))
    assert all([p.text for p in found[i].places] == words_of(found[i].text) for i in range(6))


def test_the_first_token_of_a_text_has_its_log_probability() -> None:
    """Not that of a timestamp before it; beams keep none."""
    kinds = [
        DecodeOptions(),
        DecodeOptions(max_new_tokens=1),
        DecodeOptions(timestamps=True, max_new_tokens=1),
        DecodeOptions(timestamps=True, max_new_tokens=2),
        DecodeOptions(beam_size=2),
    ]
    clip = windows(1, seed=3)[0]
    whole, one, stamp, both, beam = (
        decode([WindowRequest(i, clip, kind)], 1)[i] for i, kind in enumerate(kinds)
    )
    assert whole.first_logprob == one.first_logprob == pytest.approx(2 * one.avg_logprob)
    assert both.first_logprob == pytest.approx(3 * both.avg_logprob - 2 * stamp.avg_logprob)
    assert math.isnan(stamp.first_logprob)
    assert math.isnan(beam.first_logprob)


@pytest.mark.parametrize("provider", ["auto", "cpu"])  # the kernels and the graphs
def test_searches_together_find_what_each_finds_alone(provider: str) -> None:
    clips = windows(7, seed=8)
    kinds = [
        DecodeOptions(search=True),
        DecodeOptions(search=True, timestamps=True),
        DecodeOptions(search=True, max_new_tokens=5),
        DecodeOptions(),
    ]
    requests = [WindowRequest(i, clip, kinds[i % 4]) for i, clip in enumerate(clips)]
    alone = [decode([request], 1, provider)[request.key] for request in requests]
    for slots in (2, 7, 16):  # branches are decoded beside the windows, with 16 in free slots too
        together = decode(requests, slots, provider)
        assert [together[i].tokens for i in range(7)] == [one.tokens for one in alone]
        assert [together[i].avg_logprob for i in range(7)] == [one.avg_logprob for one in alone]
        assert [together[i].places for i in range(7)] == [one.places for one in alone]
    assert max(len(one.tokens) for one in alone[2::4]) <= 5


def test_a_prompt_takes_one_step() -> None:
    model = load_recognizer(MODEL, LoadOptions(threads=1, batch_size=3))
    for key, clip in enumerate(windows(3, seed=10)):
        model.submit(WindowRequest(key, clip, DecodeOptions(max_new_tokens=4)))
    while model.pending():
        model.poll()
    assert model.occupancy() == (12, 12)
    model.close()


def with_drafts(
    clips: list[np.ndarray], drafts: list[Tokens], search: bool
) -> tuple[list[WindowResult], int]:
    """The results of two windows, and the number of steps."""
    model, found = load_recognizer(MODEL, LoadOptions(threads=2, batch_size=2)), list[WindowResult]()
    for key, (clip, draft) in enumerate(zip(clips, drafts, strict=True)):
        model.submit(WindowRequest(key, clip, DecodeOptions(search=search, draft=draft)))
    while model.pending():
        found += model.poll()
    steps = model.occupancy()[1] // 2
    model.close()
    return sorted(found, key=lambda one: str(one.key)), steps


@pytest.mark.parametrize("search", [False, True])
def test_a_draft_changes_nothing_but_the_number_of_steps(search: bool) -> None:
    clips = windows(2, seed=10)
    plain, slowly = with_drafts(clips, [(), ()], search)
    texts = [one.tokens for one in plain]
    for drafts in (texts, [text[1:] for text in texts], [(*text[:3], 7, *text[4:]) for text in texts]):
        again, fast = with_drafts(clips, drafts, search)
        assert again == plain
        assert search or 2 * fast < slowly
    assert with_drafts(clips, texts[::-1], search)[0] == plain


@pytest.mark.parametrize("slots", [1, 6])
def test_branches_are_decoded_in_rows_that_no_window_needs(slots: int) -> None:
    model = load_recognizer(MODEL, LoadOptions(threads=1, batch_size=slots))
    assert isinstance(model, recognizer.CompiledWhisper)
    rng = np.random.default_rng(3)
    noisy = windows(1, seed=9)[0] + rng.normal(0, 0.05, len(windows(1, seed=9)[0])).astype(np.float32)
    model.submit(WindowRequest(0, noisy, DecodeOptions(search=True)))
    most = 0
    step = model._engine.step

    def counted() -> None:
        nonlocal most
        step()
        most = max(most, len(model._engine.running))

    model._engine.step = counted  # type: ignore[method-assign]
    assert [result.key for result in model.poll()] == [0]
    assert most > 1
    used, available = model.occupancy()
    assert available == slots * used  # one window, whatever runs beside it
    assert set(model._engine.buffers.cross) == {None}  # type: ignore[attr-defined]  # nothing is kept
    assert (model.pending(), len(model._engine.running)) == (0, 0)
    model.close()


def test_samples_are_forgotten_once_they_are_encoded() -> None:
    model = load_recognizer(MODEL, LoadOptions(threads=2, batch_size=2))
    assert isinstance(model, recognizer.CompiledWhisper)
    clip = windows(1)[0].copy()
    alive = weakref.ref(clip)
    model.submit(WindowRequest(0, clip, DecodeOptions()))
    del clip
    model._refill()
    assert model.pending() == 1
    assert alive() is None
    model.close()


@pytest.mark.timeout(20)
def test_closing_does_not_wait_for_a_core_that_the_caller_holds() -> None:
    clip = windows(1)[0]
    for _ in range(5):
        model = load_recognizer(MODEL, LoadOptions(threads=1, batch_size=4))
        for key in range(6):
            model.submit(WindowRequest(key, clip, DecodeOptions(max_new_tokens=3)))
        model.poll()
        model.close()


def test_beams_stay_in_the_rows_of_their_parents() -> None:
    assert _places([0, 0, 1, 2, 0]) == [0, 2, 3, 1, 4]  # rows 3 and 4 get the other children of row 0
    assert _places([1, 0]) == [1, 0]
    assert _places([4, 4, 1]) == [0, 2, 1]  # row 4 is not in use any more


def test_path_enters_each_token_where_its_attention_is() -> None:
    matrix = np.zeros((4, 40))
    for token, start in enumerate((0, 10, 15, 30)):
        matrix[token, start : start + 5] = 1
    starts = token_starts(matrix)
    assert starts[0] == 0
    assert list(np.diff(starts) > 0) == [True] * 3
    assert [abs(int(a) - b) <= 6 for a, b in zip(starts, (0, 10, 15, 30), strict=True)] == [True] * 4


class Spelled:
    """A tokenizer over a list of pieces."""

    pieces = (" he", "llo", ",", " “", "you", "”", " \ufffd", "é")

    def decode(self, ids: list[int]) -> str:
        text = "".join(self.pieces[i] for i in ids)
        return text.replace(" \ufffdé", " é")


def test_tokens_join_to_words() -> None:
    words = split_words(range(8), Spelled(), "en")  # type: ignore[arg-type]
    assert [word.text.strip() for word in words] == ["hello,", "“you”", "é"]
    assert [(word.start, word.end) for word in words] == [(0, 3), (3, 6), (6, 8)]
