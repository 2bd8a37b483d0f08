"""Spans of a row to one transcript: text, status, coverage. Pure: the same spans give the same row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr_batch.manifests.errors import ErrorCode
from asr_batch.manifests.records import (
    AudioItem,
    Failure,
    Segment,
    SpanResult,
    Status,
    Transcript,
    WindowRecord,
    Word,
)
from asr_batch.pipeline.text.full_stops import consistent
from asr_batch.pipeline.text.words import join_texts


def assemble(item: AudioItem, spans: Sequence[SpanResult]) -> Transcript:
    """The row that the spans come to.

    All spans failed: `failed`, with the first failure. Some failed: `partial`; a window without text
    stands for each, so that the windows still tile the row.
    """
    spans = sorted(spans, key=lambda span: span.key[1])
    failures = [span.failure for span in spans if span.failure is not None]
    if not spans or len(failures) == len(spans):
        return _failed(item, spans, failures)
    windows = consistent(_windows(spans))
    segments = _segments(windows)
    speech = sum(window.speech for window in windows)
    bare = _merged([stretch for window in windows for stretch in window.uncovered])
    text = join_texts(segment.text for segment in segments)
    status, code, message = _verdict(spans, windows, text, speech, bare)
    first = next(span for span in spans if span.failure is None)
    language = _common_language(windows) or first.language
    return Transcript(
        item.id,
        item.audio,
        status,
        error_code=code,
        error_message=message,
        text=text,
        segments=segments,
        words=_words(windows),
        language=language,
        language_prob=first.language_prob if language == first.language else None,
        duration=spans[-1].end - spans[0].start,
        speech=speech,
        coverage=coverage(speech, bare),
        uncovered=bare,
        encoder_backend=_backend(windows),
        node=_nodes(spans),
        decode_seconds=sum(span.decode_seconds for span in spans),
        audio_sha256=next((span.audio_sha256 for span in spans if span.audio_sha256), ""),
        model_sha256=first.model_sha256,
        windows=windows,
        notes=tuple(dict.fromkeys(note for span in spans for note in span.notes)),
    )


def _failed(item: AudioItem, spans: Sequence[SpanResult], failures: Sequence[Failure]) -> Transcript:
    failure = failures[0] if failures else Failure("internal_error", "no part of the row was transcribed")
    return Transcript(
        item.id,
        item.audio,
        "failed",
        failure.code,
        failure.message,
        coverage=0.0,
        node=_nodes(spans),
        decode_seconds=sum(span.decode_seconds for span in spans),
        audio_sha256=next((span.audio_sha256 for span in spans if span.audio_sha256), ""),
        model_sha256=next((span.model_sha256 for span in spans if span.model_sha256), ""),
    )


def _windows(spans: Sequence[SpanResult]) -> tuple[WindowRecord, ...]:
    """All windows in order of channel and time, numbered, with one for each failed span."""
    found: list[WindowRecord] = []
    for index, span in enumerate(spans):
        if span.failure is None:
            found += span.windows
            continue
        start = spans[index - 1].end if index else span.start
        end = spans[index + 1].start if index + 1 < len(spans) else span.end
        channels = sorted({w.channel for other in spans for w in other.windows}) or [-1]
        found += [_gap(start, max(start, end), channel) for channel in channels]
    found.sort(key=lambda window: (window.channel, window.start, window.end))
    return tuple(replace(window, index=index) for index, window in enumerate(found))


def _gap(start: float, end: float, channel: int) -> WindowRecord:
    return WindowRecord(
        index=0,
        start=start,
        end=end,
        keep_start=start,
        keep_end=end,
        cut="end",
        text="",
        speech=end - start,
        flags=("failed", "uncovered"),
        channel=channel,
        uncovered=((start, end),) if end > start else (),
    )


def coverage(speech: float, uncovered: Sequence[tuple[float, float]]) -> float:
    """The share of `speech` seconds outside the `uncovered` stretches; 1.0 where nothing is uncovered.

    A stretch may hold short pauses, so all stretches together may be longer than the speech.
    """
    lost = sum(end - start for start, end in uncovered)
    return max(0.0, 1 - lost / speech) if lost and speech > 0 else 1.0


def _segments(windows: Sequence[WindowRecord]) -> tuple[Segment, ...]:
    found = [segment for window in windows for segment in window.segments]
    return tuple(sorted(found, key=lambda segment: (segment.start, segment.channel)))


def _words(windows: Sequence[WindowRecord]) -> tuple[Word, ...] | None:
    if all(window.words is None for window in windows):
        return None
    found = [word for window in windows for word in window.words or ()]
    return tuple(sorted(found, key=lambda word: word.start))


def _merged(stretches: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Stretches by time, those that touch or overlap as one."""
    out: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if out and start <= out[-1][1] + 1e-6:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return tuple(out)


def _verdict(
    spans: Sequence[SpanResult],
    windows: Sequence[WindowRecord],
    text: str,
    speech: float,
    bare: Sequence[tuple[float, float]],
) -> tuple[Status, ErrorCode | None, str | None]:
    failure = next((span.failure for span in spans if span.failure is not None), None)
    problem = failure or next((span.problem for span in spans if span.problem is not None), None)
    if problem is not None:
        return "partial", problem.code, problem.message
    broken = [window for window in windows if "failed" in window.flags]
    if broken:
        first = broken[0]
        return (
            "partial",
            "decode_failed",
            f"{len(broken)} of {len(windows)} windows could not be decoded, the first at {first.start:.1f} s",
        )
    if bare:
        seconds = sum(end - start for start, end in bare)
        return "partial", "uncovered_speech", f"{seconds:.1f} s of speech have no transcript"
    return ("ok" if text or speech > 0 else "empty"), None, None


def _common_language(windows: Sequence[WindowRecord]) -> str | None:
    counts: dict[str, float] = {}
    for window in windows:
        if window.language:
            counts[window.language] = counts.get(window.language, 0.0) + window.speech
    return max(sorted(counts), key=lambda code: counts[code]) if counts else None


def _backend(windows: Sequence[WindowRecord]) -> str:
    found = {window.encoder_backend for window in windows if window.tokens} or {"cpu"}
    return found.pop() if len(found) == 1 else "mixed"


def _nodes(spans: Sequence[SpanResult]) -> str:
    return ",".join(sorted({span.node for span in spans if span.node}))
