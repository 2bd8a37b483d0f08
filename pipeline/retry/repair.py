"""Second chances for windows whose speech did not become text, within a budget.

A repair is a generator like a window's decoding: it yields asks, is sent results. Its budget is fixed before
it starts, so what it does depends on the recording alone and never on the batch around it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_batch.manifests.records import Hypothesis
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, Samples, TimedText, WindowResult
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.guards import SPEAKS, Ask, Outcome, Try, compression_ratio, judge, letters, token_cap
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.retry.gaps import EXCESS, filled, find_hole, find_rest, inserted
from asr_batch.pipeline.text.words import join_texts, words_of
from asr_batch.pipeline.windows.planning import longest_run, pauses, quietest, runs

MUCH = 2.0
"""Seconds of speech from which density says anything."""

SPARSE = 0.5
"""Words a second of speech below which a window counts as not transcribed; speech has about 2.3."""

_SLOWEST, _FASTEST = 0.8, 6.0  # words a second that an accepted retry has
_USUAL = 2.0  # words a second expected where the recording itself cannot tell
_SHARE = 0.7  # of the recording's own rate: below it a window is tried again
LOOKED_INTO = 0.8
"""Of the recording's own rate: below it a window is looked into where the model tells its words' places."""

UNHEARD = 0.3
"""Seconds of speech that the decoder did not listen to from which a window is tried again (the engine tells
where it listened; measured in docs/windows.md)."""

LOST = 0.5
"""Seconds of such speech that are `uncovered` where no retry helped."""

_AROUND = 2.0  # seconds decoded around a hole, about
_UNSURE = 0.08  # under the usual log-probability: from here a model is unsure of a window
_MORE = 1.15  # times as many words make a retry of such a window better
_MARGINS = ((0.0, 0.2), (0.6, 0.6), (0.0, 0.0), (1.0, 1.0), (0.3, 0.3), (0.15, 0.5))
"""Seconds of silence before and behind a short utterance of which a model says too much."""

_MIDDLE = (0.25, 0.75)  # of the window: where a split may lie
_SHIFT = FRAMES_PER_SECOND // 5  # 0.2 s
_LEAD = 50  # frames of silence before the onset from which moving the start makes sense
_SURE = -0.3  # log-probability from which a piece may be put into a text
_WHOLE = frozenset({"repetition", "failed", "too_dense"})  # faults of a window as a whole
_LEAST_WINDOWS = 3  # decodings that the budget allows to even the shortest row


@dataclass(frozen=True, slots=True)
class Suspect:
    """A window to try again: its decoding so far, its frames, and what is wrong.

    `speech` is the audit's; `severity` orders suspects when the budget is short; `unsure`: the model was;
    `unheard`: seconds of speech that the decoder did not listen to.
    """

    index: int
    outcome: Outcome
    level: Float32
    speech: Mask
    severity: float
    unsure: bool = False
    unheard: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return len(self.level) / FRAMES_PER_SECOND

    @property
    def cost(self) -> float:
        """Seconds of audio that a first retry decodes: only the hole where there is nothing but one."""
        return min(self.seconds, self.unheard + _AROUND) if self.severity == self.unheard else self.seconds

    @property
    def wanted(self) -> float:
        """Seconds of audio to set aside for it: two retries, or what speech between all margins takes."""
        if "too_dense" in self.outcome.flags:
            return sum(map(sum, _MARGINS)) + len(_MARGINS) * (self.speech_seconds + 0.2)
        return 2 * self.cost

    @property
    def speech_seconds(self) -> float:
        """Seconds of speech in it."""
        return float(np.count_nonzero(self.speech)) / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class _Rung:
    """A way to try a window again: pieces to decode and join, by the second model, or encoded on the CPU."""

    source: str
    pieces: list[Samples]
    second: bool = False
    cpu: bool = False


Repair = Generator[Ask, WindowResult, tuple[Outcome, float]]
"""Returns the outcome that stands and the seconds of audio that were decoded for it."""


def bare(outcome: Outcome | None, speech: float) -> bool:
    """Whether so many seconds of speech count as not transcribed by this outcome (None: skipped)."""
    if outcome is None or outcome.result.error is not None:
        return speech >= SPEAKS
    words = len(words_of(outcome.result.text))
    if not words:
        return speech >= SPEAKS
    return speech >= MUCH and words / speech < SPARSE


def usual_rate(outcomes: Sequence[tuple[Outcome, float]]) -> float:
    """Letters a second of speech in this recording: the upper quartile of windows that hold enough of it."""
    rates = [letters(outcome.result.text) / speech for outcome, speech in outcomes if speech >= MUCH]
    told = float(np.percentile(rates, 75)) if len(rates) >= 3 else 0.0
    return max(told, 5 * _USUAL)


def severity(outcome: Outcome, speech: float, usual: float, tolerated: float = _SHARE) -> float:
    """Seconds of speech that seem to be missing from the text; 0 for a window that stands.

    `tolerated`: the share of the recording's usual rate that is no reason to look closer.
    """
    if bare(outcome, speech):
        return speech
    if outcome.flags & _WHOLE:
        return speech
    if speech < MUCH or outcome.result.places:
        return 0.0  # where the decoder listened is known better than density can tell
    share = letters(outcome.result.text) / speech / usual
    return speech * (1 - share) if share < tolerated else 0.0


def doubts(logprobs: Sequence[float]) -> list[float]:
    """How much less sure the model was of each window than of this recording's usual one; 0 for ordinary."""
    known = [value for value in logprobs if math.isfinite(value)]
    if len(known) < 4:
        return [0.0] * len(logprobs)
    usual = float(np.median(known))
    spread = float(np.median(np.abs(np.array(known) - usual)))
    least = max(_UNSURE, 3 * spread)
    return [usual - value if usual - value > least else 0.0 for value in logprobs]


def chosen(suspects: Sequence[Suspect], budget: float) -> list[Suspect]:
    """The suspects that the budget (seconds of audio) allows at least one retry each, in order of time.

    Those with most to win for a second decoded come first into the budget; of equals the earliest.
    """
    picked: list[Suspect] = []
    for suspect in sorted(suspects, key=lambda one: (-one.severity / one.cost, one.index)):
        if budget <= 0:
            break
        picked.append(suspect)
        budget -= suspect.cost
    return sorted(picked, key=lambda one: one.index)


def budget_of(options: PipelineOptions, seconds: float, window: float) -> float:
    """Seconds of audio that repairs of a span may decode again."""
    if options.repair_budget <= 0:
        return 0.0
    return max(options.repair_budget * seconds, _LEAST_WINDOWS * window)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every repair of a track needs. `longest`: samples of the model's window; `words`: it
    can tell where its words lie.
    """

    base: DecodeOptions
    options: PipelineOptions
    second: bool
    longest: int
    words: bool = False


def repair(suspect: Suspect, samples: Samples, more: Samples, shop: Workshop, budget: float) -> Repair:
    """Try a window in other ways until one is accepted or the budget (seconds) is spent.

    `more` are the samples right behind the window (0.2 s, fewer at the end of the audio).
    """
    spent = 0.0
    if shop.words and not suspect.outcome.result.places and not needs_all(suspect):
        outcome, spent = yield from fill_holes(suspect, samples, shop, budget)
        if "recovered" in outcome.flags or suspect.severity <= (1 - _SHARE) * suspect.speech_seconds:
            return outcome, spent
        suspect = replace(suspect, outcome=outcome)
    others: list[Hypothesis] = []
    first = Try("first", suspect.outcome.result, suspect.outcome.flags)
    for rung in _rungs(suspect, samples, more, shop):
        cost = sum(map(len, rung.pieces)) / SAMPLE_RATE
        # The second model comes last, and comes to its turn.
        others_turn = suspect.seconds if shop.second and not rung.second else 0.0
        if spent + cost > budget - others_turn:
            continue
        spent += cost
        result = yield from _pieces(rung, shop)
        attempt = Try(rung.source, result, judge(result, shop.options, suspect.speech_seconds))
        if accepted(attempt, suspect):
            flags = (
                suspect.outcome.flags - {"repetition", "failed", "low_logprob", "truncated", "too_dense"}
            ) | {"recovered"}
            kept = (*suspect.outcome.others, first.hypothesis(), *others)
            return Outcome(result, frozenset(flags), kept), spent
        others.append(attempt.hypothesis())
    return replace(suspect.outcome, others=(*suspect.outcome.others, *others)), spent


def needs_all(suspect: Suspect) -> bool:
    """Whether the window as a whole has to be decoded otherwise, not only where a stretch is missing."""
    return bare(suspect.outcome, suspect.speech_seconds) or bool(
        suspect.outcome.flags & (_WHOLE | {"truncated"})
    )


def fill_holes(suspect: Suspect, samples: Samples, shop: Workshop, budget: float) -> Repair:
    """Find out where the window's words lie; decode again what lies under none of them."""
    outcome, spent, least = suspect.outcome, 0.0, UNHEARD
    places: Sequence[TimedText] = outcome.result.places
    if not places and suspect.seconds <= budget:
        spent, least = suspect.seconds, EXCESS
        ask = asked(samples, shop, False)
        timed = yield replace(ask, options=replace(ask.options, word_timestamps=True))
        places = [TimedText(word.start, word.end, word.word.strip()) for word in timed.words or ()]
    if not places or [word.text for word in places] != words_of(outcome.result.text):
        return outcome, spent
    others: list[Hypothesis] = []
    for find, put in ((find_hole, filled), (find_rest, inserted)):
        hole = find(places, suspect.speech, suspect.level, least)
        if hole is None or spent + (hole.end - hole.start) / FRAMES_PER_SECOND > budget:
            break
        piece = yield asked(samples[hole.start * FRAME : hole.end * FRAME], shop, False)
        spent += (hole.end - hole.start) / FRAMES_PER_SECOND
        spoken = float(np.count_nonzero(suspect.speech[hole.start : hole.end])) / FRAMES_PER_SECOND
        attempt = Try("hole", piece, judge(piece, shop.options, spoken))
        whole = put(outcome.result.text, hole, piece.text) if _credible(attempt, spoken) else None
        if whole is not None:
            first = Try("first", outcome.result, outcome.flags).hypothesis()
            kept = (*outcome.others, first, *others)
            return Outcome(_mended(outcome.result, whole, piece), outcome.flags | {"recovered"}, kept), spent
        others.append(attempt.hypothesis())
    return replace(outcome, others=(*outcome.others, *others)), spent


def _credible(attempt: Try, spoken: float) -> bool:
    """Whether a piece's text may go into a window that has a text already."""
    words = len(words_of(attempt.result.text))
    dense = _SLOWEST * spoken <= words <= _FASTEST * max(spoken, SPEAKS)
    return dense and not attempt.faults and attempt.result.avg_logprob >= _SURE


def _mended(result: WindowResult, text: str, piece: WindowResult) -> WindowResult:
    return replace(result, text=text, tokens=result.tokens + piece.tokens, segments=(), words=None, places=())


def _pieces(rung: _Rung, shop: Workshop) -> Generator[Ask, WindowResult, WindowResult]:
    results: list[WindowResult] = []
    for piece in rung.pieces:
        ask = asked(piece, shop, rung.second)
        result = yield replace(ask, options=replace(ask.options, cpu_encoder=rung.cpu))
        results.append(result)
    return _joined(results)


def accepted(attempt: Try, suspect: Suspect) -> bool:
    """Whether a retry is believed: speech-like density, no repetition, and more said than before."""
    result = attempt.result
    if result.error is not None or attempt.faults:
        return False
    if "too_dense" in suspect.outcome.flags:
        return 0 < len(words_of(result.text)) < len(words_of(suspect.outcome.result.text))
    words, before = len(words_of(result.text)), len(words_of(suspect.outcome.result.text))
    speech = suspect.speech_seconds
    if compression_ratio(result.text) >= 2.4 or not words:
        return False
    if speech >= MUCH and not _SLOWEST <= words / speech <= _FASTEST:
        return False
    if suspect.outcome.flags & {"repetition", "failed"}:
        return True
    return words >= max(before + 1, _MORE * before)


def asked(samples: Samples, shop: Workshop, second: bool) -> Ask:
    """One more decoding of these samples."""
    seconds = len(samples) / SAMPLE_RATE
    cap = token_cap(seconds, shop.base.language, shop.options.max_new_tokens)
    return Ask(samples, replace(shop.base, max_new_tokens=cap, suppress_first_eot=True), second)


def _rungs(suspect: Suspect, samples: Samples, more: Samples, shop: Workshop) -> Iterator[_Rung]:
    """The ways to try, cheapest disturbance first."""
    if "too_dense" in suspect.outcome.flags:
        yield from _other_margins(suspect, samples, shop)
        return
    empty = bare(suspect.outcome, suspect.speech_seconds) or "failed" in suspect.outcome.flags
    voiced = runs(suspect.speech)
    onset = max(0, voiced[0][0] - _SHIFT) if voiced else 0
    if empty and onset >= _LEAD:
        yield _Rung("onset", [samples[onset * FRAME :]])
    if empty and len(samples) > 10 * _SHIFT * FRAME:
        yield _Rung("shorter", [samples[: -_SHIFT * FRAME]])
    if empty and len(more) and len(samples) + len(more) <= shop.longest:
        yield _Rung("longer", [np.concatenate((samples, more))])
    for parts in (2, 3):
        pieces = split_quietly(samples, suspect.level, suspect.speech, parts)
        if len(pieces) == parts:
            yield _Rung(f"split {parts}", pieces)
    if suspect.outcome.result.encoder_backend == "hailo":
        yield _Rung("CPU encoder", [samples], cpu=True)
    if shop.second:
        yield _Rung("second model", [samples], second=True)


def _other_margins(suspect: Suspect, samples: Samples, shop: Workshop) -> Iterator[_Rung]:
    """The window's speech between other lengths of silence: a short word comes once in one of them."""
    voiced = runs(suspect.speech)
    if not voiced:
        return
    first, last = max(0, voiced[0][0] - 5), voiced[-1][1] + 5
    spoken = samples[first * FRAME : last * FRAME]
    for before, behind in _MARGINS:
        padded = np.pad(spoken, (round(before * SAMPLE_RATE), round(behind * SAMPLE_RATE)))
        if len(padded) <= shop.longest:
            yield _Rung(f"margins {before:g} and {behind:g} s", [padded])


def split_quietly(samples: Samples, level: Float32, speech: Mask, parts: int) -> list[Samples]:
    """The window cut at its inner pauses, or else its quietest places, into about equal parts."""
    if len(level) < parts * 2 * FRAMES_PER_SECOND:
        return [samples]
    quiet = pauses(level, speech.astype(np.float32))
    cuts = [0]
    for part in range(1, parts):
        share = 1 / parts
        low = max(cuts[-1] + FRAMES_PER_SECOND, round((part - share / 1.5 * parts / 2) * share * len(level)))
        high = min(
            len(level) - FRAMES_PER_SECOND, round((part + share / 1.5 * parts / 2) * share * len(level))
        )
        if high - low < 10:
            return [samples]
        start, end = longest_run(quiet[low:high])
        start, end = (low + start, low + end) if end - start >= 5 else (low, high)
        cuts.append(quietest(level, start, end))
    edges = [cut * FRAME for cut in cuts] + [len(samples)]
    return [samples[a:b] for a, b in pairwise(edges)]


def _joined(results: Sequence[WindowResult]) -> WindowResult:
    """Results of consecutive pieces as one (times of pieces are dropped: they are not the window's)."""
    if len(results) == 1:
        return replace(results[0], segments=(), words=None, places=())
    count = [max(1, len(result.tokens)) for result in results]
    mean = float(np.average([result.avg_logprob for result in results], weights=count))
    return replace(
        results[0],
        text=join_texts(result.text for result in results),
        tokens=tuple(token for result in results for token in result.tokens),
        avg_logprob=mean,
        no_speech_prob=min(result.no_speech_prob for result in results),
        truncated=any(result.truncated for result in results),
        segments=(),
        words=None,
        places=(),
        flags=tuple(sorted({flag for result in results for flag in result.flags})),
        error=next((result.error for result in results if result.error), None),
    )
