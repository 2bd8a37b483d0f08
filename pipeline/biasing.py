"""Glossary: each window is decoded as usual, then again with the terms in its prompt.

The second text is used only if it contains more of the terms and is as likely as the first. A prompt of
terms changes unrelated words too, so a window without terms keeps exactly the text it has without a
glossary. docs/quality.md has the figures.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from asr_batch.models.recognizer import ModelInfo, Recognizer, Samples, WindowRequest, WindowResult
from asr_batch.pipeline.text.terms import Terms
from asr_batch.pipeline.text.words import words_of

LESS_LIKELY = 0.2
"""Maximum decrease of the mean log-probability with terms."""

LONGER = 1.5
"""Maximum ratio of the lengths of both texts, in words."""


@dataclass(frozen=True, slots=True)
class _Again:
    """Key of a window's second decoding."""

    key: Hashable


class Biased:
    """Wraps a recognizer and adds the terms of a glossary."""

    def __init__(self, inside: Recognizer, glossary: Sequence[str]) -> None:
        self._inside, self._glossary, self._terms = inside, tuple(glossary), Terms(glossary)
        self._requests: dict[Hashable, WindowRequest] = {}
        self._first: dict[Hashable, WindowResult] = {}
        self._suspect: set[Hashable] = set()
        self.room, self.pending = inside.room, inside.pending
        self.occupancy, self.close = inside.occupancy, inside.close

    @property
    def info(self) -> ModelInfo:
        """The wrapped model."""
        return self._inside.info

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """See the wrapped recognizer."""
        return self._inside.detect_language(windows, among, whole=whole)

    def submit(self, request: WindowRequest) -> None:
        """Accept a window. Raises ItemError."""
        self._inside.submit(request)
        self._requests[request.key] = request

    def poll(self) -> list[WindowResult]:
        """Work until at least one window is finished; returns all finished ones."""
        while True:
            done = [end for result in self._inside.poll() if (end := self._take(result)) is not None]
            if done or not self._inside.pending():
                return done

    def confirm(self) -> bool:
        """See the wrapped recognizer; first decodings that wait for their second count as unconfirmed too."""
        good = self._inside.confirm()
        if not good:
            self._suspect |= self._first.keys()
        return good

    def _take(self, result: WindowResult) -> WindowResult | None:
        """The outcome of a window; None while it is decoded again."""
        if isinstance(result.key, _Again):
            key = result.key.key
            first = self._first.pop(key)
            if key in self._suspect:
                self._suspect.remove(key)
                self._inside.submit(self._requests[key])
                return None
            del self._requests[key]
            return replace(result, key=key) if self._better(first, result) else first
        request = self._requests[result.key]
        if result.error is not None or not result.text.strip():
            del self._requests[result.key]
            return result
        self._first[result.key] = result
        options = replace(request.options, glossary=self._glossary)
        if result.languages and options.language is None:  # terms have no say in the language
            options = replace(options, language=result.language)
        self._inside.submit(WindowRequest(_Again(result.key), request.samples, options))
        return None

    def _better(self, first: WindowResult, second: WindowResult) -> bool:
        """Whether the text with terms is credible: more of the terms, as likely, similar length."""
        if second.error is not None or second.truncated:
            return False
        heard = [self._terms.letters(result.text) for result in (first, second)]
        words = [max(1, len(words_of(result.text))) for result in (first, second)]
        alike = 1 / LONGER <= words[1] / words[0] <= LONGER
        return heard[1] > heard[0] and alike and second.avg_logprob >= first.avg_logprob - LESS_LIKELY
