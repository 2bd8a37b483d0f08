"""The choice between languages: by the probabilities that a decoder detects, and by the texts in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from asr_batch.models.recognizer import Samples, WindowResult
from asr_batch.pipeline.guards import is_repetitive
from asr_batch.pipeline.thresholds import (
    ALSO_SPOKEN,
    BEST_LOGPROB,
    CHANCE_WEIGHT,
    CLOSE_TEXTS,
    ENOUGH_TO_TELL,
    GUESSED_CHANCE,
    LEAST_CHANCE,
    LEAST_SPEECH,
    MOST_LANGUAGES,
    NOT_SPOKEN,
    OTHER_TOKENS,
    POOR_LOGPROB,
    SECOND_LANGUAGE,
    SURE_CHANCE,
)


class Detects(Protocol):
    """Detects languages, as `Recognizer.detect_language` does."""

    def __call__(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """Probability of each language in each window."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A row whose language was detected, not given.

    `language`: the main one of the row, decoded as well where another one is detected, as detection may err;
    `spoken`: all that the row is spoken in. None: each window has its own, one of `allowed` (empty: any),
    which `detect` tells where it is unclear.
    """

    language: str | None = None
    spoken: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    detect: Detects | None = None


def clarity(chances: Mapping[str, float]) -> float:
    """The probability of the most likely language; 1 without any."""
    return max(chances.values(), default=1.0)


def ranked(chances: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """The languages and their probabilities, the most likely first."""
    return tuple(sorted(chances.items(), key=lambda one: (-one[1], one[0])))


def is_clear(chances: Mapping[str, float], speech: float) -> bool:
    """Whether the most likely language needs no text to confirm it."""
    return speech < ENOUGH_TO_TELL or clarity(chances) >= SURE_CHANCE


def is_a_guess(chances: Mapping[str, float], speech: float) -> bool:
    """Whether the most likely language of a word or two is hardly more than a guess."""
    return LEAST_SPEECH <= speech < ENOUGH_TO_TELL and clarity(chances) < GUESSED_CHANCE


def is_close(results: Iterable[WindowResult], chances: Mapping[str, float]) -> bool:
    """Whether the texts leave the language open: none is likely, or two are alike."""
    scores = sorted((score(result, chances) for result in results), reverse=True)
    likeliest = max(result.avg_logprob for result in results)
    alike = len(scores) > 1 and scores[1][0] and scores[0][1] - scores[1][1] < CLOSE_TEXTS
    return alike or not likeliest >= POOR_LOGPROB


def worth_trying(best: WindowResult, chances: Mapping[str, float]) -> list[str]:
    """The languages, the most likely first, in which a text may be likelier than the best one so far."""
    least = {
        code: (True, BEST_LOGPROB + CHANCE_WEIGHT * math.log(chance))
        for code, chance in ranked(chances)[:MOST_LANGUAGES]
        if chance >= LEAST_CHANCE
    }
    return [code for code in least if score(best, chances) < least[code]]


def hopeless(best: WindowResult, chances: Mapping[str, float], code: str) -> float:
    """Sum of log-probabilities below which a text in this language is no longer expected to win.

    It may have OTHER_TOKENS times the tokens of the best one so far.
    """
    chance, own = (max(chances.get(one or "", 0.0), LEAST_CHANCE) for one in (code, best.language))
    needed = best.avg_logprob + CHANCE_WEIGHT * math.log(own / chance)
    return min(needed, 0.0) * OTHER_TOKENS * (len(best.tokens) + 1)


def heard_instead(
    chances: Mapping[str, float], tried: Sequence[str | None], allowed: Iterable[str]
) -> list[str]:
    """The language other than those tried that a window is probably spoken in, if there is one."""
    wanted = (set(allowed) or chances.keys()) - set(tried)
    return [code for code, chance in chances.items() if chance >= SECOND_LANGUAGE and code in wanted]


def score(
    result: WindowResult, chances: Mapping[str, float], row: Choice | None = None
) -> tuple[bool, float]:
    """How likely a text and its language are together; in another one than the `row`'s, it must be likelier.

    Texts with a loop come last, and those that only the token limit ended: each round of a loop is likelier
    than the one before.
    """
    if math.isnan(result.avg_logprob):
        return False, -math.inf
    chance = max(chances.get(result.language or "", 0.0), LEAST_CHANCE)
    likely = result.avg_logprob + CHANCE_WEIGHT * math.log(chance)
    if row is not None and result.language != row.language:
        likely -= ALSO_SPOKEN if result.language in row.spoken else NOT_SPOKEN
    return not (result.truncated or is_repetitive(result)), likely
