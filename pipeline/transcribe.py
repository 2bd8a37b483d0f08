"""Transcribes many open units with one recognizer, keeping its slots full across files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.records import SpanResult, Unit
from asr_batch.models.recognizer import SAMPLE_RATE, Recognizer, WindowRequest, WindowResult
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.biasing import Biased
from asr_batch.pipeline.language.vote import LanguageVote
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.span import SpanRun

_AHEAD = 2
"""Windows planned ahead for each slot of the recognizer."""

_AT_ONCE = "at once"
"""First part of the keys of requests that no window has made."""


class Transcriber:
    """Transcribes units. Not thread-safe.

    `second` loads the second model when a window first needs it; `node` names this machine in the ledger.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        options: PipelineOptions,
        second: Callable[[], Recognizer] | None = None,
        node: str = "",
    ) -> None:
        biased = bool(options.glossary) and not options.plain and "prompt" in recognizer.info.capabilities
        self._recognizer = Biased(recognizer, options.glossary) if biased else recognizer
        self._options = options
        self._second = second
        self._second_model: Recognizer | None = None
        self._node = node
        self._vote = LanguageVote(recognizer, options, self._at_once)
        self._early: list[WindowResult] = []
        self._runs: dict[tuple[str, int], SpanRun] = {}

    def add(self, unit: Unit, source: Source) -> None:
        """Accept a unit; nothing is read before `advance`."""
        self._runs[unit.key] = SpanRun(
            unit, source, self._recognizer.info, self._options, self._vote, self._second is not None
        )

    def room(self) -> int:
        """Number of further units needed to keep the recognizer's slots full."""
        wanted = _AHEAD * max(1, self._recognizer.info.batch)
        in_sight = sum(run.windows_left() for run in self._runs.values())
        return max(0, math.ceil(wanted - in_sight))

    def open_units(self) -> tuple[Unit, ...]:
        """Units accepted and not returned, oldest first."""
        return tuple(run.unit for run in self._runs.values())

    def progress(self) -> dict[tuple[str, int], float]:
        """Audio seconds decoded of each open unit."""
        return {key: run.seconds_done() for key, run in self._runs.items()}

    def advance(self, seconds: float) -> list[SpanResult]:
        """Work until at least one unit is finished or `seconds` have passed; returns the finished ones."""
        until = time.monotonic() + seconds
        while self._runs:
            self._fill()
            done = self._collect()
            if done:
                return done
            self._poll()
            done = self._collect()
            if done or time.monotonic() >= until:
                return done
        return []

    def close(self) -> None:
        """Drop open units and release the recognizer."""
        for run in self._runs.values():
            run.close()
        self._runs.clear()
        self._recognizer.close()
        if self._second_model is not None:
            self._second_model.close()

    def _fill(self) -> None:
        """Submit windows while the recognizer accepts them, oldest unit first."""
        for key, run in self._runs.items():
            while self._recognizer.room() > 0:
                began = time.monotonic()
                asked = run.pull(self._node)
                run.decode_seconds += time.monotonic() - began
                if asked is None:
                    break
                slot, request = asked
                if request.second:
                    run.give(slot, self._ask_second(request), self._node)
                else:
                    self._recognizer.submit(WindowRequest((key, slot), request.samples, request.options))

    def _ask_second(self, request: DecodeRequest) -> WindowResult:
        """Decode one window with the second model, loading it if necessary; too rare to batch."""
        if self._second_model is None:
            assert self._second is not None
            self._second_model = self._second()
        model = self._second_model
        if len(request.samples) > round(model.info.window * SAMPLE_RATE):
            short = f"windows of the second model have at most {model.info.window:g} s"
            return WindowResult("second", "", (), math.nan, math.nan, error=short)
        options = request.options
        if model.info.languages and options.language not in model.info.languages:
            options = replace(options, language=None)
        try:
            model.submit(WindowRequest("second", request.samples, options))
        except ItemError as error:
            return WindowResult("second", "", (), math.nan, math.nan, error=error.message)
        return model.poll()[0]

    def _at_once(self, requests: Sequence[DecodeRequest]) -> list[WindowResult]:
        """Decode these before anything else is planned; windows that end meanwhile are given out later."""
        for place, request in enumerate(requests):
            self._recognizer.submit(WindowRequest((_AT_ONCE, place), request.samples, request.options))
        done: dict[int, WindowResult] = {}
        while len(done) < len(requests):
            for result in self._recognizer.poll():
                kind, place = cast(tuple[object, int], result.key)
                if kind == _AT_ONCE:
                    done[place] = result
                else:
                    self._early.append(result)
        return [done[place] for place in range(len(requests))]

    def _poll(self) -> None:
        if not self._early and not self._recognizer.pending():
            return
        began = time.monotonic()
        results, self._early = self._early or self._recognizer.poll(), []
        share = (time.monotonic() - began) / max(1, len(self._runs))
        for run in self._runs.values():
            run.decode_seconds += share
        for result in results:
            key, slot = cast(tuple[tuple[str, int], int], result.key)
            self._runs[key].give(slot, result, self._node)

    def _collect(self) -> list[SpanResult]:
        finished = [key for key, run in self._runs.items() if run.finished]
        return [self._runs.pop(key).result(self._node) for key in finished]
