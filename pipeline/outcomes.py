"""What is kept of a decoded window, and what is cut off its text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from asr_batch.manifests.records import Hypothesis
from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.guards import ENDLESS
from asr_batch.pipeline.text.repetition import before_letters_loop, compression_ratio, loop_of
from asr_batch.pipeline.text.wordless import is_cry, is_haha
from asr_batch.pipeline.text.words import join_texts, letters, normal, words_between, words_of
from asr_batch.pipeline.thresholds import AGAIN, NO_SPEECH

_UNTIMED: dict[str, Any] = {"segments": (), "words": None, "places": ()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a window: the accepted result, flags, the other hypotheses.

    `result` has its `error` set if no attempt gave anything usable. `prompted`: whether the prompt has a say
    in its text.
    """

    result: WindowResult
    flags: frozenset[str] = frozenset()
    others: tuple[Hypothesis, ...] = ()
    prompted: bool = True


def hypothesis(source: str, result: WindowResult) -> Hypothesis:
    """A result as stored in windows/."""
    return Hypothesis(source, result.text, result.avg_logprob, compression_ratio(result.text))


def of_language(result: WindowResult) -> Hypothesis:
    """A result in a language that a window may be spoken in."""
    return hypothesis(f"in {result.language}", result)


def without_loop(result: WindowResult) -> WindowResult:
    """The result up to the end of the first round of its loop; unchanged without a loop."""
    found = loop_of(result.text)
    if found is not None:
        return first_words(result, found[1])
    text = before_letters_loop(result.text)
    return replace(result, text=text, **_UNTIMED) if text != result.text else result


def cut_loop(outcome: Outcome) -> Outcome:
    """The outcome up to the end of the first round of its loop; unchanged without a loop.

    Nothing is left of one word again and again, as for laughter, if the model itself doubts that anybody
    speaks, or if it is an interjection. A sentence said twenty times may have any no-speech probability.
    """
    cut = without_loop(outcome.result)
    if cut is outcome.result:
        return outcome
    doubted = cut.no_speech_prob >= NO_SPEECH or is_cry(cut.text) or is_haha(cut.text)
    if outcome.flags >= ENDLESS and len(words_of(cut.text)) == 1 and doubted:
        cut = first_words(outcome.result, 0)
    others = (*outcome.others, hypothesis("looped", outcome.result))
    return replace(outcome, result=cut, flags=outcome.flags - {"too_dense"}, others=others)


def within_audio(result: WindowResult) -> WindowResult:
    """The result without words at its end that repeat those before them, but have hardly any audio.

    Silence follows a window where its audio ended, and a decoder may find the last sentence in it once more.
    A sentence really said twice has its second half in the audio.
    """
    places, said = result.places, [normal(place.text) for place in result.places]
    for count in range(len(said) // 2, 0, -1):
        first, before = len(said) - count, len(said) - 2 * count
        taken = places[first].start - places[before].start
        again = places[-1].end - places[first].start
        if said[before:first] == said[first:] and taken > 0 and again <= AGAIN * taken:
            return first_words(result, first)
    return result


def with_letters(result: WindowResult) -> WindowResult:
    """The result without its text if that is punctuation alone."""
    return replace(result, text="", **_UNTIMED) if result.text and not letters(result.text) else result


def first_words(result: WindowResult, count: int) -> WindowResult:
    """The result with the first `count` words of its text."""
    total = len(words_of(result.text))
    return replace(
        result,
        text=words_between(result.text, 0, count),
        segments=(),
        words=result.words[:count] if result.words and len(result.words) == total else None,
        places=result.places[:count] if len(result.places) == total else (),
    )


def without_words(result: WindowResult, dropped: Collection[int]) -> WindowResult:
    """The result without the words with these indices; `places` must be known."""
    kept = [index for index in range(len(result.places)) if index not in dropped]
    timed = result.words if result.words and len(result.words) == len(result.places) else None
    return replace(
        result,
        text=join_texts(result.places[index].text for index in kept),
        places=tuple(result.places[index] for index in kept),
        words=tuple(timed[index] for index in kept) if timed else None,
        segments=(),
    )
