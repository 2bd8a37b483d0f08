"""Makes the ledger rows of a finished track: kept text, speech, and speech without text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asr_batch.manifests.records import Segment, WindowRecord, Word
from asr_batch.models.recognizer import SAMPLE_RATE, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Mask
from asr_batch.pipeline.audio.syllables import nuclei
from asr_batch.pipeline.guards import ENDLESS
from asr_batch.pipeline.ledger.keeping import Kept, keep
from asr_batch.pipeline.ledger.word_times import word_times
from asr_batch.pipeline.outcomes import cut_loop, hypothesis, without_words
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.retry.doubtful import bare
from asr_batch.pipeline.retry.gaps import bare_stretches
from asr_batch.pipeline.retry.rates import thin_windows
from asr_batch.pipeline.text.repetition import compression_ratio
from asr_batch.pipeline.text.sentences import sentences
from asr_batch.pipeline.text.words import words_between, words_of
from asr_batch.pipeline.thresholds import GAP, SUSPECT
from asr_batch.pipeline.track import Track
from asr_batch.pipeline.windows.planning import runs

_JOIN = 40  # frames between two stretches without text that count as one


def ledger(track: Track, info_node: str, channel: int) -> list[WindowRecord]:
    """One record per window, tiling the track from its start to its end."""
    threshold = track.histogram.threshold()
    if not track.options.plain:
        for window in track.windows:
            _cut_endless(window)
            _leave_out_astray(window)
    kept = keep(track.windows, track.stretch.start, track.end)
    thin = thin_windows(track.windows, threshold)
    return [
        _record(track, window, part, threshold, info_node, channel, window.index in thin)
        for window, part in zip(track.windows, kept, strict=True)
    ]


def _cut_endless(window: DecodedWindow) -> None:
    """Cut a loop that the token limit ended and that no retry resolved, or none could within the budget."""
    if window.outcome is not None and window.outcome.flags >= ENDLESS and not window.unspoken:
        window.outcome = cut_loop(window.outcome)


def _leave_out_astray(window: DecodedWindow) -> None:
    """Remove words that the decoder wrote for music or noise before, between or after speech."""
    astray = window.astray
    if window.outcome is not None and astray:
        outcome = window.outcome
        window.outcome = replace(
            outcome,
            result=without_words(outcome.result, astray),
            flags=outcome.flags | {"suspect_hallucination"},
            others=(*outcome.others, hypothesis("left out", outcome.result)),
        )


def _record(
    track: Track, window: DecodedWindow, part: Kept, threshold: float, node: str, channel: int, thin: bool
) -> WindowRecord:
    begin = track.stretch.start
    start = begin + window.start / SAMPLE_RATE
    end = track.end if window is track.windows[-1] else begin + window.end / SAMPLE_RATE
    heard = window.audible(threshold)
    gone = _gone(track, start, len(heard))
    mask = heard | gone  # unreadable audio may have been speech
    kept_mask = mask.copy()
    kept_mask[: max(0, round((part.start - start) * FRAMES_PER_SECOND))] = False
    kept_mask[max(0, round((part.end - start) * FRAMES_PER_SECOND)) :] = False
    speech = float(np.count_nonzero(kept_mask)) / FRAMES_PER_SECOND
    holes: tuple[tuple[float, float], ...] = ()
    seconds = float(np.count_nonzero(heard)) / FRAMES_PER_SECOND
    lost = thin or window.disputed or bare(window.outcome, seconds)
    if not track.options.plain:
        bare_mask = kept_mask if lost else _unheard(window, kept_mask & heard) | (kept_mask & gone)
        holes = tuple(
            (max(part.start, start + a / FRAMES_PER_SECOND), min(part.end, start + b / FRAMES_PER_SECOND))
            for a, b in runs(bare_mask, _JOIN)
        )
    empty = WindowRecord(
        index=window.index,
        start=start,
        end=end,
        keep_start=part.start,
        keep_end=part.end,
        cut="end" if window is track.windows[-1] else window.cut,
        text="",
        speech=speech,
        flags=("silence",) if window.skipped else (),
        node=node,
        channel=channel,
        language=track.base.language,
        uncovered=holes,
        words=() if track.options.word_timestamps else None,
    )
    if window.outcome is None:
        return replace(empty, flags=(*empty.flags, *(("uncovered",) if holes else ())))
    return _with_text(track, window, part, empty)


def _gone(track: Track, start: float, count: int) -> Mask:
    """Frames of a window that lie in a hole of the file."""
    found = np.zeros(count, np.bool_)
    for first, last in track.holes:
        begin, end = ((second - start) * FRAMES_PER_SECOND for second in (first, last))
        found[max(0, round(begin)) : max(0, round(end))] = True
    return found


def _unheard(window: DecodedWindow, speech: Mask) -> Mask:
    """Frames of `speech` that the decoder did not attend to."""
    found = np.zeros_like(speech)
    doubtful = speech.copy()
    for start, end in window.confirmed:
        doubtful[start:end] = False
    syllables = nuclei(window.level.astype(np.float32), speech)
    for start, end in bare_stretches(window.places, doubtful, syllables, GAP):
        found[start:end] = doubtful[start:end]
    return found


def _with_text(track: Track, window: DecodedWindow, part: Kept, empty: WindowRecord) -> WindowRecord:
    assert window.outcome is not None
    result = window.outcome.result
    words = words_of(result.text)[part.first : part.last]
    text = words_between(result.text, part.first, part.last)
    flags = set(window.outcome.flags) | set(part.flags) | set(result.flags)
    others = window.outcome.others
    if empty.uncovered:
        flags.add("uncovered")
    if words and not track.options.plain and (window.unspoken or window.heard_seconds < SUSPECT):
        flags.add("suspect_hallucination")
        if window.unspoken or track.options.drop_hallucinations:
            words, text, others = [], "", (*others, hypothesis("left out", result))
    density = len(words) / empty.speech if empty.speech > 0 else 0.0
    record = replace(
        empty,
        text=text,
        tokens=result.tokens,
        avg_logprob=result.avg_logprob,
        no_speech_prob=result.no_speech_prob,
        compression_ratio=compression_ratio(result.text),
        words_per_second=density,
        encoder_backend=result.encoder_backend,
        arithmetic=result.arithmetic,
        batch=result.batch,
        language=result.language or empty.language,
        hypotheses=others,
        flags=tuple(sorted(flags)),
    )
    return _with_times(track, window, part, record, result)


def _with_times(
    track: Track, window: DecodedWindow, part: Kept, record: WindowRecord, result: WindowResult
) -> WindowRecord:
    if not record.text:
        return record
    placed, approximate = word_times(record, result, window)
    placed = placed[part.first : part.last]
    flags = record.flags
    if track.options.word_timestamps and approximate:
        flags = tuple(sorted({*flags, "approximate_words"}))
    record = replace(record, flags=flags, words=placed if track.options.word_timestamps else None)
    return replace(record, segments=_segments(record, result, placed, part))


def _segments(
    record: WindowRecord, result: WindowResult, words: Sequence[Word], part: Kept
) -> tuple[Segment, ...]:
    """Segments by the model's timestamps if it has any, else its sentences between pauses."""
    pieces: list[tuple[float, float, str]] = []
    place = 0
    for piece in result.segments:
        chosen = words_between(piece.text, max(0, part.first - place), max(0, part.last - place))
        place += len(words_of(piece.text))
        if chosen:
            pieces.append((record.start + piece.start, record.start + piece.end, chosen))
    if [word for *_, text in pieces for word in words_of(text)] != words_of(record.text):
        pieces = [
            (words[first].start, words[last - 1].end, words_between(record.text, first, last))
            for first, last in sentences(words)
        ]
    return tuple(_segment(record, *piece) for piece in pieces)


def _segment(record: WindowRecord, start: float, end: float, text: str) -> Segment:
    start = min(max(start, record.keep_start), record.keep_end)
    end = min(max(end, start), record.keep_end)
    return Segment(
        start,
        end,
        text,
        record.channel,
        record.avg_logprob,
        record.no_speech_prob,
        record.compression_ratio,
        record.flags,
        record.language,
    )
