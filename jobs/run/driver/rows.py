"""Rows in progress: the units of a row, and the finished row for the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from asr_batch.jobs.dataset.schema import TRANSCRIPTS, Row, transcript_row, window_row
from asr_batch.jobs.dataset.schema import output_name as _output_name
from asr_batch.jobs.quality import COUNTS, Errors
from asr_batch.jobs.run.driver.feed import Task
from asr_batch.manifests.languages import AUTO
from asr_batch.manifests.records import AudioItem, Failure, SpanResult, Transcript, Unit
from asr_batch.models.recognizer import ModelInfo
from asr_batch.pipeline.text.terms import Terms

log = logging.getLogger("asr_batch")

Assemble = Callable[[AudioItem, Sequence[SpanResult]], Transcript]
Split = Callable[[AudioItem, Any], list[Unit]]
Score = Callable[[str, str, str | None], Errors]


@dataclass(slots=True)
class OpenRow:
    """A row in progress: its finished spans, and the rows that wait for the same transcript."""

    task: Task
    count: int
    results: dict[int, SpanResult] = field(default_factory=dict)
    attempts: int = 1
    followers: list[Task] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all units are finished."""
        return len(self.results) == self.count


_SPEECH = 2000
"""Bytes per second of speech at 16 kbit/s, the lowest usual rate."""

_UNKNOWN = 600.0
"""Seconds of audio assumed at most of a file whose length is unknown."""


def units_of(task: Task, split: Split, hang_timeout: float) -> list[Unit]:
    """The units of a row, each with its deadline, without passed-through columns."""
    light = replace(task.item, extra=(), reference=None)
    units = split(light, task.facts.info)
    return [_with_deadline(unit, task, hang_timeout) for unit in units]


def _with_deadline(unit: Unit, task: Task, hang_timeout: float) -> Unit:
    """Give a unit the time that it may go without progress, and what is known of its file.

    Progress restarts the time, so a header that is wrong about the length is good enough. Without a length
    the size of the file gives a limit, and `_UNKNOWN` another: a hung file must not block a worker for days.
    """
    seconds = unit.seconds or (task.seconds if unit.count == 1 else 0.0)
    exact = task.facts.info is not None and task.facts.info.seekable
    # Without exact seeking, a row is read from the start of its file.
    read = seconds if exact else task.item.end or task.facts.seconds
    guess = read or min((task.facts.size or 0) / _SPEECH, _UNKNOWN)
    deadline = hang_timeout + 30.0 * guess
    return replace(unit, seconds=seconds, deadline=deadline, hashed=bool(task.facts.sha256))


class RowMaker:
    """Makes rows of the data set from the results of workers."""

    def __init__(
        self, model: ModelInfo, assemble: Assemble, score: Score | None, terms: Terms | None = None
    ) -> None:
        self._model, self._assemble, self._score, self._terms = model, assemble, score, terms

    def make(self, row: OpenRow) -> tuple[Row, list[Row]]:
        """The finished row and its windows."""
        item = row.task.item
        results = [row.results[index] for index in sorted(row.results)]
        transcript = self._assembled(item, results)
        more = {
            "model": self._model.name,
            "model_sha256": self._model.sha256,
            "settings_sha256": row.task.settings_sha256,
            "audio_sha256": row.task.facts.sha256 or transcript.audio_sha256,
            "attempts": row.attempts,
            "audio_bytes": row.task.facts.size,
            "audio_mtime_ns": row.task.facts.mtime_ns,
            **self._own(item, transcript.text, transcript.language, transcript.status),
        }
        windows = [window_row(item.id, window) for window in transcript.windows]
        return transcript_row(transcript, datetime.now(UTC), more), windows

    def copy(self, row: Row, windows: Sequence[Row], task: Task) -> tuple[Row, list[Row]]:
        """The same transcript for another manifest row with the same audio and settings."""
        item, facts = task.item, task.facts
        own = self._own(item, row["text"] or "", row["language"], row["status"])
        basis = {name: row.get(name) for name in TRANSCRIPTS.names}
        copied = {**basis, **own, "id": item.id, "audio": item.audio, "finished_at": datetime.now(UTC)}
        copied.update(audio_bytes=facts.size, audio_mtime_ns=facts.mtime_ns, decode_seconds=0.0)
        return copied, [{**window, "id": item.id} for window in windows]

    def _assembled(self, item: AudioItem, results: Sequence[SpanResult]) -> Transcript:
        try:
            return self._assemble(item, results)
        except Exception:  # a bug in assembling one row must not lose the others
            log.exception("assembling row %s failed", item.id)
            message = "The row could not be assembled; log.jsonl has the traceback."
            return Transcript(
                item.id, item.audio, "failed", error_code="internal_error", error_message=message
            )

    def _own(self, item: AudioItem, text: str, language: str | None, status: str) -> dict[str, Any]:
        own: dict[str, Any] = {_output_name(name): value for name, value in item.extra}
        own["reference"] = item.reference
        own["glossary"] = self._heard(text) if status != "failed" else None
        own.update(dict.fromkeys(("wer", "cer", *COUNTS)))
        if item.reference is not None and self._score is not None:
            own.update(self._scored(item, "" if status == "failed" else text, language))
        return own

    def _heard(self, text: str) -> list[dict[str, Any]] | None:
        """The glossary terms in the text with their counts; None without a glossary."""
        found = self._terms.heard(text) if self._terms else None
        return None if found is None else [{"term": term, "count": count} for term, count in found.items()]

    def _scored(self, item: AudioItem, text: str, language: str | None) -> dict[str, Any]:
        assert self._score is not None
        try:
            given = item.language if item.language != AUTO else None
            errors = self._score(item.reference or "", text, given or language)
        except Exception:  # an unusual reference must not lose the row
            log.exception("scoring row %s failed", item.id)
            return {}
        counts = (errors.words, errors.word_errors, errors.characters, errors.character_errors)
        return {"wer": errors.wer, "cer": errors.cer, **dict(zip(COUNTS, counts, strict=True))}


def failed_span(unit: Unit, failure: Failure) -> SpanResult:
    """The result of a unit that was given up."""
    end = unit.end if unit.end is not None else unit.start + unit.seconds
    return SpanResult(unit.key, unit.start, end, failure=failure)
