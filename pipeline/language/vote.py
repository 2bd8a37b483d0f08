"""The language of a row: a vote of windows with speech from the whole row.

All spans of a row use the same windows and so agree; results are cached for the next span.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.languages import AUTO
from asr_batch.manifests.records import Unit
from asr_batch.models.recognizer import SAMPLE_RATE, Recognizer, Samples
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Float32, Mask, Meter
from asr_batch.pipeline.audio.reader import AudioInfo, length_of
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.decoding import Choice
from asr_batch.pipeline.guards import prepared
from asr_batch.pipeline.language.turns import Turns, in_utterances
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.thresholds import (
    CLEAR_CHANCE,
    LEAST_CHANCE,
    MORE_VOTERS,
    MOST_LANGUAGES,
    SECOND_LANGUAGE,
    SURE_CHANCE,
    TURN_CHANCE,
    VOTER_SECONDS,
    VOTERS,
)
from asr_batch.pipeline.windows.planning import SPEECH

_ENOUGH = 1.5  # seconds of speech that a voter needs, and a row whose texts are compared
_KEPT = 256  # cached rows
_FIRST_LOOK = 8  # windows of the first round, whose samples are kept; each round doubles the number


@dataclass(frozen=True, slots=True)
class Answer:
    """The language of a row and its probability (None: it was given).

    If it was detected: the `choice` for its windows, and the `turns` of a row whose language changes.
    """

    language: str | None
    prob: float | None = None
    choice: Choice | None = None
    turns: Turns | None = None


class LanguageVote:
    """Language detection by vote, with a cache of rows."""

    def __init__(self, recognizer: Recognizer, options: PipelineOptions) -> None:
        self._recognizer = recognizer
        self._options = options
        self._answers: OrderedDict[tuple[object, ...], Answer] = OrderedDict()

    def __call__(self, unit: Unit, source: Source, info: AudioInfo, channel: str) -> Answer:
        """The row's language, its probability, and other candidates.

        Raises ItemError (`bad_language`) for a language that the model does not know.
        """
        given = unit.item.language or self._options.language
        given = None if given == AUTO else given
        model = self._recognizer.info
        if given is not None:
            if model.languages and given not in model.languages:
                raise ItemError("bad_language", f"the model does not know the language {given!r}")
            return Answer(given)
        if len(model.languages) == 1:
            return Answer(model.languages[0])
        if "language_detection" not in model.capabilities:
            return Answer(None)
        key = (unit.item.id, unit.item.location, unit.item.start, unit.item.end, channel, unit.item.track)
        if key not in self._answers:
            self._answers[key] = self._listen(unit, source, info, channel)
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return self._answers[key]

    def _listen(self, unit: Unit, source: Source, info: AudioInfo, channel: str) -> Answer:
        start = unit.item.start or 0.0
        track = unit.item.track
        end = unit.item.end
        if end is None:
            end = max(info.duration or length_of(source, track), start + 1.0)
        stretch = (start, end)
        found: dict[float, _Heard] = {}
        answer = Answer(None)
        for wanted in (VOTERS, MORE_VOTERS):
            self._look(found, wanted, source, stretch, channel, track)
            chosen = _voters(found, wanted)
            gone = [at for at in chosen if found[at].samples is None]
            again = dict(self._hear(source, stretch, channel, track, gone))
            answer = self._vote(
                [replace(found[at], samples=again.get(at, found[at].samples)) for at in chosen]
            )
            if answer.turns is None:
                break
        return answer

    def _look(
        self,
        found: dict[float, _Heard],
        wanted: int,
        source: Source,
        stretch: tuple[float, float],
        channel: str,
        track: int | None,
    ) -> None:
        """Add windows to `found`, by position, until enough have speech; keep samples of the first ones."""
        start, end = stretch
        window = self._length(stretch)
        places = min(_FIRST_LOOK, max(1, math.ceil((end - start) / window)))
        while True:
            step = (end - start) / places
            asked = {round(max(0.0, (index + 0.5) * step - window / 2), 2) for index in range(places)}
            for at, samples in self._hear(source, stretch, channel, track, sorted(asked - found.keys())):
                found[at] = _heard(samples, keep=places <= _FIRST_LOOK)
            if sum(one.seconds >= _ENOUGH for one in found.values()) >= wanted or step <= window:
                return
            places *= 2

    def _length(self, stretch: tuple[float, float]) -> float:
        """Seconds of a voter: the whole row if it is one window, which is then encoded once for both uses."""
        start, end = stretch
        window = self._recognizer.info.window
        return window if end - start <= window else min(window, VOTER_SECONDS)

    def _hear(
        self,
        source: Source,
        stretch: tuple[float, float],
        channel: str,
        track: int | None,
        places: list[float],
    ) -> Iterator[tuple[float, Samples]]:
        """The windows that start at these seconds of the row, in order of time."""
        reader = Rereader(source, *stretch, channel, track)
        length = round(self._length(stretch) * SAMPLE_RATE)
        try:
            for at in places:
                first = round(at * SAMPLE_RATE)
                yield at, reader.read(first, first + length)
        finally:
            reader.close()

    def _vote(self, windows: Sequence[_Heard]) -> Answer:
        """Mean probabilities over the windows; turns if they, or the utterances in one, disagree."""
        windows = [window for window in windows if len(window.level)]
        voters = self._chances([window.prepared() for window in windows])
        total: dict[str, float] = {}
        for chances in voters:
            for code, chance in chances.items():
                total[code] = total.get(code, 0.0) + chance
        if not total:
            return Answer(None)
        ranked = sorted(total, key=lambda code: (-total[code], code))
        prob = total[ranked[0]] / sum(total.values())
        heard = {ranked[0]} | _heard_in(voters, SECOND_LANGUAGE)
        turning = self._turning(windows, voters)
        if len(turning) > 1:
            heard = turning | _heard_in(voters, TURN_CHANCE)
        spoken = tuple(code for code in ranked if code in heard)[:MOST_LANGUAGES]
        turns = Turns(spoken, self._recognizer.detect_language) if len(spoken) > 1 else None
        alone = len(voters) == 1 and turns is None and windows[0].seconds >= _ENOUGH
        unsure = voters[0] if alone and prob < SURE_CHANCE else {}
        likely = {
            code: unsure[code] for code in ranked[:MOST_LANGUAGES] if unsure.get(code, 0) >= LEAST_CHANCE
        }
        return Answer(ranked[0], prob, Choice(ranked[0], likely, self._options.languages), turns)

    def _turning(self, windows: Sequence[_Heard], voters: Sequence[Mapping[str, float]]) -> set[str]:
        """Languages of single utterances in the windows whose language is not clear."""
        unclear = (
            window
            for window, chances in zip(windows, voters, strict=True)
            if max(chances.values(), default=1.0) < CLEAR_CHANCE
        )
        pieces = [piece for window in unclear for piece in window.utterances()]
        return _heard_in(self._chances(pieces), TURN_CHANCE) if pieces else set()

    def _chances(self, windows: Sequence[Samples]) -> list[dict[str, float]]:
        """Probability of each candidate language in each window."""
        return self._recognizer.detect_language(windows, self._options.languages)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A window of the row: samples (None: not kept), level, and whether somebody speaks, per frame."""

    samples: Samples | None
    level: Float32
    speech: Mask

    @property
    def seconds(self) -> float:
        """Seconds of speech by Silero."""
        return float(np.count_nonzero(self.speech)) / FRAMES_PER_SECOND

    def prepared(self) -> Samples:
        """The samples as for decoding."""
        assert self.samples is not None
        return prepared(self.samples, self.level, self.speech)

    def utterances(self) -> list[Samples]:
        """The utterances with enough speech to tell their language, if there are several."""
        assert self.samples is not None
        _, pieces, seconds = in_utterances(self.samples, self.level, self.speech)
        if len(pieces) == 1:
            return []
        return [piece for piece, spoken in zip(pieces, seconds, strict=True) if spoken >= _ENOUGH]


def _heard(samples: Samples, *, keep: bool) -> _Heard:
    parts = list(Meter().measure([samples]))
    level, speech = (
        np.concatenate([np.zeros(0, np.float32), *(getattr(part, name) for part in parts)])
        for name in ("level", "speech")
    )
    return _Heard(samples if keep else None, level, speech >= SPEECH)


def _heard_in(voters: Iterable[Mapping[str, float]], least: float) -> set[str]:
    """The languages that have at least this probability in any voter."""
    return {code for chances in voters for code, chance in chances.items() if chance >= least}


def _voters(found: Mapping[float, _Heard], wanted: int) -> list[float]:
    """Positions of the voters in order of time: those with enough speech, spread evenly; else the best."""
    speaking = sorted(at for at, one in found.items() if one.seconds >= _ENOUGH)
    if not speaking:
        return [min(found, key=lambda at: (-found[at].seconds, at))]
    if len(speaking) <= wanted:
        return speaking
    return [speaking[index * len(speaking) // wanted] for index in range(wanted)]
