"""One unit in a worker: its channels one after the other, or its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar, cast

from asr_batch.manifests.errors import ItemError, RetryableError, WorkerFatalError
from asr_batch.manifests.records import Failure, SpanResult, Unit, WindowRecord
from asr_batch.models.recognizer import DecodeOptions, ModelInfo, WindowResult
from asr_batch.pipeline.audio.frames import Meter
from asr_batch.pipeline.audio.reader import AudioInfo, probe
from asr_batch.pipeline.audio.source import NamedBytes, Source, sha256, shown
from asr_batch.pipeline.language.misgivings import misgivings
from asr_batch.pipeline.language.vote import Answer
from asr_batch.pipeline.ledger.rows import ledger
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import Stretch
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.running import Key
from asr_batch.pipeline.track import Track
from asr_batch.pipeline.windows.boundaries import plain_boundary, quiet_boundary

T = TypeVar("T")
Vote = Callable[[Unit, Source, AudioInfo, str], Answer]
"""Detects the language of a row from several positions."""


class SpanRun:
    """A unit being transcribed. Its methods never raise for a bad file, but set `failure`."""

    def __init__(
        self,
        unit: Unit,
        source: Source,
        model: ModelInfo,
        options: PipelineOptions,
        vote: Vote,
        second: bool = False,
    ) -> None:
        self.unit = unit
        self._second = second
        self.failure: Failure | None = None
        self.decode_seconds = 0.0
        # The extension may be the only hint at the codec.
        self._source = NamedBytes.of(source, unit.item.location) if isinstance(source, bytes) else source
        self._model = model
        self._options = options
        self._vote = vote
        self._opened = False
        self._language = Answer(None)
        self._detected: tuple[str, float] | None = None
        self._boundaries = (unit.start, unit.end)
        self._channels: list[str] = []
        self._track: Track | None = None
        self._records: list[WindowRecord] = []
        self._problem: Failure | None = None
        self._notes: dict[str, None] = {}
        self._asked = 0.0
        self._end_second = unit.start
        self._sha256 = ""
        self._waiting = 0

    @property
    def finished(self) -> bool:
        """Whether `result` is complete."""
        if self._waiting:
            return False
        return self.failure is not None or (self._opened and self._track is None and not self._channels)

    def seconds_done(self) -> float:
        """Audio seconds decoded so far."""
        kept = sum(record.keep_end - record.keep_start for record in self._records)
        return kept + (self._track.done_seconds if self._track else 0.0)

    def windows_left(self) -> float:
        """Approximate number of windows that it will still request."""
        if self.finished:
            return 0.0
        return max(1.0, (self.unit.seconds - self.seconds_done()) / self._model.window)

    def pull(self, node: str) -> tuple[object, DecodeRequest] | None:
        """The next decoding that can start, or None."""
        if self.failure is not None:
            return None
        return self._guarded(lambda: self._pull(node))

    def give(self, key: object, result: WindowResult, node: str) -> None:
        """Pass a result to the window that requested it."""
        self._waiting -= 1
        if self.failure is not None or self._track is None:
            return
        self._guarded(lambda: self._take_in(cast(Key, key), result, node))

    def _take_in(self, key: Key, result: WindowResult, node: str) -> None:
        assert self._track is not None
        self._track.give(key, result)
        self._close_finished(node)

    def _pull(self, node: str) -> tuple[object, DecodeRequest] | None:
        if not self._opened:
            self._open()
        while True:
            if self._track is None:
                if not self._channels:
                    return None
                self._track = self._start_track(self._channels.pop(0))
            asked = self._track.pull()
            if asked is not None:
                self._waiting += 1
                return asked
            self._close_finished(node)
            if self._track is not None:
                return None

    def _open(self) -> None:
        unit, info = self.unit, probe(self._source, self.unit.item.track)
        self._check_span(info)
        if unit.index == 0 and not unit.hashed:
            self._sha256 = sha256(self._source)
        channel = unit.item.channel
        self._channels = [str(c) for c in range(info.channels)] if channel == "split" else [channel]
        self._boundaries = (self._boundary(unit.start, unit.soft_start), self._end())
        if not self._options.plain or self._model.languages:
            self._language = self._vote(unit, self._source, info, self._channels[0])
        self._opened = True

    def _check_span(self, info: AudioInfo) -> None:
        item = self.unit.item
        start, end = item.start or 0.0, item.end
        if end is not None and end <= start:
            raise ItemError("bad_span", f"the row's end {end:g} s is not after its start {start:g} s")
        if start and info.seekable and start >= info.duration:
            raise ItemError("bad_span", f"the row starts at {start:g} s; the audio has {info.duration:.3f} s")

    def _end(self) -> float | None:
        return None if self.unit.end is None else self._boundary(self.unit.end, self.unit.soft_end)

    def _boundary(self, nominal: float, soft: bool) -> float:
        if not soft:
            return nominal
        if self._options.plain:
            window = min(self._options.window or self._model.window, self._model.window)
            return plain_boundary(nominal, self.unit.item.start or 0.0, window)
        item = self.unit.item
        return quiet_boundary(self._source, nominal, item.channel, Meter(), item.track)

    def _start_track(self, channel: str) -> Track:
        stretch = Stretch(self._source, *self._boundaries, channel, self.unit.item.track)
        return Track(
            stretch,
            self._model,
            self._options,
            self._base(),
            Meter(),
            self._second,
            self._language.choice,
            self._language.turns,
        )

    def _base(self) -> DecodeOptions:
        item, options = self.unit.item, self._options
        return DecodeOptions(
            language=self._language.language,
            task=item.task or options.task,
            prompt=item.prompt or options.prompt,
            timestamps=options.timestamps,
            word_timestamps=options.word_timestamps and "word_timestamps" in self._model.capabilities,
            beam_size=options.beam_size,
            search=self._searches(),
        )

    def _searches(self) -> bool:
        """Whether a likelier text is looked for close to each greedy one."""
        options = self._options
        return "beam" in self._model.capabilities and options.beam_size == 1 and not options.plain

    def _close_finished(self, node: str) -> None:
        """Write the track to the ledger once all its windows are resolved."""
        track = self._track
        if track is None or not track.finished:
            return
        channel = int(track.stretch.channel) if self.unit.item.channel == "split" else -1
        records = ledger(track, node, channel)
        base = len(self._records)
        self._records += [replace(record, index=base + i) for i, record in enumerate(records)]
        self._problem = self._problem or track.problem
        self._notes |= dict.fromkeys((*track.notes, *self._misgivings(track)))
        self._detected = self._detected or track.detected
        self._asked += track.asked_seconds
        self._boundaries = (
            self._boundaries[0],
            track.end if self._boundaries[1] is None else self._boundaries[1],
        )
        self._end_second = track.end
        self._track = None

    def _misgivings(self, track: Track) -> Iterator[str]:
        """What speaks against the text; a prompt would have a say in the language that is heard."""
        detected = self._language.choice is not None
        prompted = track.base.prompt or self._options.glossary
        given = None if prompted or detected else self._language.language
        return misgivings(track.windows, track.base, self._model.languages, given, detected)

    def _guarded(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except ItemError as error:
            self._fail(Failure(error.code, error.message))
        except (RetryableError, WorkerFatalError):
            raise
        except MemoryError:
            self._fail(Failure("out_of_memory", f"{shown(self._source)}: not enough memory to read it"))
        except OSError as error:
            self._fail(Failure("unreadable", f"{shown(self._source)} cannot be read: {error.strerror}"))
        except Exception as error:  # noqa: BLE001  # one row's trouble must not end the others
            self._fail(Failure("internal_error", f"{type(error).__name__}: {error}"))
        return None

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._track is not None:
            self._track.close()
            self._track = None

    def result(self, node: str) -> SpanResult:
        """The result of the unit."""
        unit = self.unit
        start = self._boundaries[0]
        if self.failure is not None:
            end = self._boundaries[1] if self._boundaries[1] is not None else start + unit.seconds
            return SpanResult(
                unit.key, start, end, model_sha256=self._model.sha256, node=node, failure=self.failure
            )
        language, prob = self._detected or (self._language.language, self._language.prob)
        return SpanResult(
            unit.key,
            start,
            self._end_second,
            tuple(self._records),
            language=language,
            language_prob=prob,
            audio_sha256=self._sha256,
            model_sha256=self._model.sha256,
            node=node,
            decode_seconds=self.decode_seconds,
            decoded_seconds=self._asked,
            problem=self._problem,
            notes=tuple(self._notes),
        )
