"""The language of a row: a vote over speech windows spread over all of it.

Every span of a row listens at the same places, so all of them agree; answers are kept for the next span.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.records import Unit
from asr_batch.models.recognizer import SAMPLE_RATE, Recognizer, Samples
from asr_batch.pipeline.audio import AudioInfo, read_samples
from asr_batch.pipeline.frames import FRAMES_PER_SECOND, Meter
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.plan import SPEECH
from asr_batch.pipeline.source import Source

VOTERS = 5
"""Windows with speech that vote."""

_ENOUGH = 1.5  # seconds of speech that a voter needs
_KEPT = 256  # answers remembered
_FIRST_LOOK = 6  # places of the first round; each round doubles them

Answer = tuple[str | None, float | None]


class LanguageVote:
    """Asks the recognizer's language detection; remembers rows."""

    def __init__(self, recognizer: Recognizer, options: PipelineOptions) -> None:
        self._recognizer = recognizer
        self._options = options
        self._answers: OrderedDict[tuple[object, ...], Answer] = OrderedDict()

    def __call__(self, unit: Unit, source: Source, info: AudioInfo, channel: str) -> Answer:
        """Language code and its probability; (given language, None) where one is given.

        Raises ItemError (`bad_language`) for a language that the model does not know.
        """
        given = unit.item.language or self._options.language
        model = self._recognizer.info
        if given is not None:
            if model.languages and given not in model.languages:
                raise ItemError("bad_language", f"the model does not know the language {given!r}")
            return given, None
        if len(model.languages) == 1:
            return model.languages[0], None
        if "language_detection" not in model.capabilities:
            return None, None
        key = (unit.item.id, unit.item.location, unit.item.start, unit.item.end, channel)
        if key not in self._answers:
            self._answers[key] = self._listen(unit, source, info, channel)
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return self._answers[key]

    def _listen(self, unit: Unit, source: Source, info: AudioInfo, channel: str) -> Answer:
        start = unit.item.start or 0.0
        end = unit.item.end if unit.item.end is not None else max(info.duration, start + 1.0)
        voters: list[tuple[float, float, Samples]] = []
        heard: set[float] = set()
        window = self._recognizer.info.window
        places = _FIRST_LOOK
        while True:
            step = (end - start) / places
            for index in range(places):
                at = round(start + max(0.0, (index + 0.5) * step - window / 2), 2)
                if at in heard:
                    continue
                heard.add(at)
                voters += self._voter(source, at, min(at + window, end), channel)
            if len([v for v in voters if v[0] >= _ENOUGH]) >= VOTERS or step <= window:
                break
            places *= 2
        return self._vote(voters)

    def _voter(
        self, source: Source, start: float, end: float, channel: str
    ) -> list[tuple[float, float, Samples]]:
        samples = read_samples(source, start, end, channel)[
            : round(self._recognizer.info.window * SAMPLE_RATE)
        ]
        if not len(samples):
            return []
        speech = np.concatenate([part.speech for part in Meter().measure([samples])])
        return [(float(np.count_nonzero(speech >= SPEECH)) / FRAMES_PER_SECOND, start, samples)]

    def _vote(self, voters: list[tuple[float, float, Samples]]) -> Answer:
        """Mean of the probabilities over the windows with most speech."""
        ranked = sorted(voters, key=lambda voter: (-min(voter[0], _ENOUGH), voter[1]))
        speaking = [voter for voter in ranked if voter[0] >= _ENOUGH] or ranked[:1]
        chosen = speaking[:: max(1, len(speaking) // VOTERS)][:VOTERS]
        total: dict[str, float] = {}
        for chances in self._recognizer.detect_language([samples for _, _, samples in chosen]):
            for code, chance in chances.items():
                if not self._options.languages or code in self._options.languages:
                    total[code] = total.get(code, 0.0) + chance
        if not total:
            return None, None
        best = max(sorted(total), key=lambda code: total[code])
        return best, total[best] / sum(total.values())
