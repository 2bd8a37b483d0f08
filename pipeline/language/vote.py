"""The language of a row: a vote of windows with speech from the whole row.

All spans of a row use the same windows and so agree; results are cached for the next span. A row of one
window needs no vote: the decoder detects its language.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.languages import AUTO
from asr_batch.manifests.records import Unit
from asr_batch.models.recognizer import SAMPLE_RATE, Recognizer, Samples
from asr_batch.pipeline.audio.reader import AudioInfo, length_of
from asr_batch.pipeline.audio.source import Source
from asr_batch.pipeline.choice import Choice, clarity
from asr_batch.pipeline.language.heard import Heard, Utterance, mean
from asr_batch.pipeline.language.mixture import Evidence, spoken_in
from asr_batch.pipeline.language.texts import Ask, likeliest, told_by_texts
from asr_batch.pipeline.language.turns import OneWindow, Opening, Parting, Turns
from asr_batch.pipeline.language.voters import Voters
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.thresholds import (
    ADMITTED,
    ADMITTED_EACH,
    CLEAR_CHANCE,
    CONSIDERED,
    ENOUGH_SPEECH,
    FEW_VOTERS,
    MORE_VOTERS,
    PADDED_CHANCE,
    PADDED_SECONDS,
    SURE_CHANCE,
    VOTER_SECONDS,
    VOTERS,
)

_KEPT = 256  # cached rows


@dataclass(frozen=True, slots=True)
class Answer:
    """The language of a row and its probability (None: it was given, or each window has its own).

    If it was not given: the `choice` for its windows, and `turns` if windows may be split.
    """

    language: str | None
    prob: float | None = None
    choice: Choice | None = None
    turns: Parting | None = None


class LanguageVote:
    """Language detection by vote, with a cache of rows."""

    def __init__(self, recognizer: Recognizer, options: PipelineOptions, ask: Ask) -> None:
        self._recognizer = recognizer
        self._ask = ask
        self._options = options
        self._length = min(recognizer.info.window, VOTER_SECONDS)
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
                known = model.languages[0] if len(model.languages) == 1 else f"{len(model.languages)} others"
                raise ItemError("bad_language", f"{model.name} knows {known}, not {given!r}")
            return Answer(given)
        if len(model.languages) == 1:
            return Answer(model.languages[0])
        if "language_detection" not in model.capabilities:
            return Answer(None)
        item = unit.item
        key = (item.id, item.location, item.start, item.end, channel, item.track)
        if key not in self._answers:
            start = item.start or 0.0
            end = item.end or max(info.duration or length_of(source, item.track), start + 1.0)
            one = end - start <= model.window
            row = Voters(source, (start, end), channel, item.track, self._length)
            self._answers[key] = self._own() if one else self._opened(self._listen(row), row)
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        answer = self._answers[key]
        begins = isinstance(answer.turns, Opening)
        return replace(answer, turns=None) if begins and unit.index else answer

    def _own(self) -> Answer:
        """The decoder detects the language of each window."""
        allowed = self._options.languages
        choice = Choice(None, (), allowed, self._recognizer.detect_language)
        detect = self._recognizer.detect_language
        return Answer(None, None, choice, OneWindow(allowed, detect, self._surely, self._tell))

    def _tell(
        self, pieces: Sequence[Utterance], chances: Sequence[Mapping[str, float]], main: str
    ) -> list[str | None]:
        return told_by_texts(pieces, chances, main, self._options, self._ask)

    def _listen(self, row: Voters) -> Answer:
        told: dict[float, Mapping[str, float]] = {}
        parts: dict[float, list[Evidence]] = {}
        answer = Answer(None)
        for wanted in (FEW_VOTERS, VOTERS, MORE_VOTERS):
            row.look(wanted)
            windows = row.chosen(wanted)
            new = [at for at in windows if at not in told]
            told.update(zip(new, self._chances([windows[at].prepared() for at in new]), strict=True))
            voters = {at: told[at] for at in windows}
            if wanted == FEW_VOTERS < len(row.found) and not _are_clear(voters.values()):
                continue
            heard = self._evidence(windows, voters, parts)
            least = CONSIDERED
            if wanted == MORE_VOTERS:
                least = max(ADMITTED, ADMITTED_EACH * sum(one.weight for one in heard))
            answer = self._vote(voters.values(), heard, least)
            if answer.turns is None:
                return self._confirmed(answer, windows.values(), voters.values())
        return answer

    def _evidence(
        self,
        windows: Mapping[float, Heard],
        voters: Mapping[float, Mapping[str, float]],
        parts: dict[float, list[Evidence]],
    ) -> list[Evidence]:
        """What is heard in the voters; in the least clear half of them, by utterance (kept in `parts`)."""
        unclear = sorted((clarity(chances), at) for at, chances in voters.items())
        asked = [at for clear, at in unclear[: math.ceil(len(voters) / 2)] if clear < CLEAR_CHANCE]
        pieces = [(at, *piece) for at in asked if at not in parts for piece in windows[at].utterances()]
        parts.update((at, []) for at in asked if at not in parts)
        found = self._chances([samples for _, samples, _ in pieces]) if pieces else []
        for (at, _, seconds), chances in zip(pieces, found, strict=True):
            parts[at].append(Evidence(chances, min(seconds / ENOUGH_SPEECH, 1.0)))
        whole = {at: [Evidence(voters[at], windows[at].seconds / ENOUGH_SPEECH)] for at in windows}
        return [one for at in windows for one in (at in asked and parts[at]) or whole[at]]

    def _vote(
        self, voters: Collection[Mapping[str, float]], heard: Sequence[Evidence], least: float
    ) -> Answer:
        """The most likely language on average; turns if another one makes what is heard so much likelier."""
        chances = mean(voters)
        if not chances:
            return Answer(None)
        main = min(chances, key=lambda code: (-chances[code], code))
        spoken = spoken_in(heard, main, least)
        turns = Turns(spoken, self._surely) if len(spoken) > 1 else None
        choice = Choice(main, spoken, self._options.languages)
        return Answer(main, chances[main], choice, turns)

    def _confirmed(
        self, answer: Answer, windows: Collection[Heard], voters: Collection[Mapping[str, float]]
    ) -> Answer:
        """The same; if the vote leaves the language open, that of the likeliest texts."""
        if answer.prob is None or answer.prob >= SURE_CHANCE or self._options.plain:
            return answer
        chances = mean(voters)
        told = likeliest(windows, chances, self._options, self._ask)
        if told is None:
            return answer
        return Answer(told, chances[told], Choice(told, (told,), self._options.languages))

    def _opened(self, answer: Answer, row: Voters) -> Answer:
        """The same; if the first utterance of a row in one language is in another one, with windows split."""
        if answer.language is None or answer.turns is not None or self._options.plain:
            return answer
        first = row.first().utterances()[:1]
        spoken = self._tell(first, self._chances([piece for piece, _ in first]), answer.language)
        languages = tuple(dict.fromkeys((answer.language, *filter(None, spoken))))
        if len(languages) == 1:
            return answer
        choice = Choice(answer.language, languages, self._options.languages)
        return replace(answer, choice=choice, turns=Opening(languages, self._surely))

    def _chances(self, windows: Sequence[Samples]) -> list[dict[str, float]]:
        """Probability of each candidate language in each window."""
        return self._recognizer.detect_language(windows, self._options.languages)

    def _surely(self, windows: Sequence[Samples], among: Sequence[str]) -> list[dict[str, float]]:
        """The same among these languages; unclear short windows are padded to the length of the training."""
        found = self._recognizer.detect_language(windows, among)
        unclear = [
            at
            for at, samples in enumerate(windows)
            if len(samples) < PADDED_SECONDS * SAMPLE_RATE and clarity(found[at]) < PADDED_CHANCE
        ]
        padded = [windows[at] for at in unclear]
        again = self._recognizer.detect_language(padded, among, whole=True) if padded else []
        for at, chances in zip(unclear, again, strict=True):
            found[at] = chances
        return found


def _are_clear(voters: Collection[Mapping[str, float]]) -> bool:
    """Whether all are clear, and agree."""
    likeliest = {max(chances, key=lambda code: chances[code]) for chances in voters if chances}
    return len(likeliest) <= 1 and all(clarity(chances) >= CLEAR_CHANCE for chances in voters)
