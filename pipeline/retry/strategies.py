"""The retry strategies: a table of values, tried in order until none is needed.

docs/retries.md lists costs and gains on human speech. A strategy is a generator: it yields requests,
receives results, and returns the outcome. It depends on the window alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples, WindowResult
from asr_batch.pipeline.audio.frames import FRAME, FRAMES_PER_SECOND, Float32, Mask
from asr_batch.pipeline.audio.rounds import rounds
from asr_batch.pipeline.guards import (
    WHOLE,
    DecodeRequest,
    Outcome,
    cut_loop,
    echoes,
    hypothesis,
    judge,
    letters,
    request,
    within_audio,
)
from asr_batch.pipeline.retry.counting import alike, miscounted, parts, recounted, repeats
from asr_batch.pipeline.retry.gaps import Gap, find_gaps, missing
from asr_batch.pipeline.retry.hearing import Hearing, Listener, halves, hear, utterances, words_heard
from asr_batch.pipeline.retry.merging import Word, is_part_of, merged, with_words
from asr_batch.pipeline.text.spoken import spoken_seconds, total_letters
from asr_batch.pipeline.text.words import words_of
from asr_batch.pipeline.thresholds import (
    ALIKE,
    ASKED_FOR,
    BRIEF,
    ENOUGH_SPEECH,
    GAP,
    GAPS_AGAIN,
    LEAST_RATE,
    LEAST_SPEECH,
    LETTER_SECONDS,
    MARGINS,
    MOST_RATE,
    NEWS,
    OTHER_LENGTH,
    PAUSE,
    SAME,
    SHORT_PAUSE,
    SPARSE_WORDS,
    SURELY_MORE,
    SURROUNDINGS,
    SUSPECTED,
    UNCLEAR,
    WORSE,
)

_EDGE = 5  # frames kept around speech that is decoded alone
_USELESS = WHOLE | {"low_logprob"}
_MENDED = _USELESS | {"too_dense"}
_SPOILT = WHOLE | {"too_dense"}


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A window to decode again: its outcome so far, and the speech in it, frame by frame.

    `speech` is the audit's, `nuclei` are its syllables; `thin`: it has far less text than usual in this
    recording; `confirmed`: stretches [start, end) in frames that a second decoding found complete.
    """

    index: int
    outcome: Outcome
    level: Float32
    speech: Mask
    nuclei: Mask
    thin: bool = False
    confirmed: tuple[tuple[int, int], ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return len(self.level) / FRAMES_PER_SECOND

    @property
    def spoken(self) -> float:
        """Seconds of speech in it."""
        return float(np.count_nonzero(self.speech)) / FRAMES_PER_SECOND

    @property
    def unheard(self) -> bool:
        """Whether the window as a whole lacks text for its speech."""
        return "failed" in self.outcome.flags or self.thin or bare(self.outcome, self.spoken)

    @property
    def faulty(self) -> bool:
        """Whether the window as a whole has a fault."""
        return self.unheard or bool(self.outcome.flags & _USELESS)

    @property
    def gaps(self) -> list[Gap]:
        """Stretches of speech without words that no second decoding has confirmed."""
        places = self.outcome.result.places
        if not places or [place.text for place in places] != words_of(self.outcome.result.text):
            return []
        speech = self.speech.copy()
        for start, end in self.confirmed:
            speech[start:end] = False
        return find_gaps(places, speech, self.nuclei, self.level, SUSPECTED)


Attempt = Generator[DecodeRequest, WindowResult, Doubtful]


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to decode a window again.

    `wanted`: whether the window needs it; `cost`: seconds of audio that it decodes at most.
    """

    name: str
    wanted: Callable[[Doubtful, Listener], bool]
    cost: Callable[[Doubtful], float]
    attempt: Callable[[Doubtful, Samples, Listener], Attempt]


def bare(outcome: Outcome | None, speech: float) -> bool:
    """Whether this much speech counts as not transcribed by the outcome (None: skipped)."""
    if outcome is None or outcome.result.error is not None:
        return speech >= LEAST_SPEECH
    words = len(words_of(outcome.result.text))
    if not words:
        return speech >= LEAST_SPEECH
    return speech >= ENOUGH_SPEECH and words / speech < SPARSE_WORDS and not outcome.result.places


def _without_prompt(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window without its prompt.

    Decoders repeat a prompt's words, or take what it says for said and end early. Words that are heard
    without the prompt too are no echo, unless they loop or are far more or fewer.
    """
    hearing = yield from _whole(window, samples, listener, {"prompt": None})
    if "prompt_echo" not in window.outcome.flags:
        return _if_better(window, "without prompt", hearing)
    real = echoes(hearing.result.text, listener.base.prompt)
    sound = not window.outcome.flags & (_MENDED - {"low_logprob", "prompt_echo"})
    whole = real and sound and _says_as_much(window, hearing)
    if whole or hearing.faults & WHOLE or not hearing.words:
        kept = replace(window.outcome, flags=window.outcome.flags - {"prompt_echo"})
        return _kept(replace(window, outcome=kept if real else window.outcome), "without prompt", hearing)
    return _taken(window, hearing)


def _by_utterance(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each utterance separately: really repeated speech stays, loops do not."""
    edges = utterances(window.level, window.speech, PAUSE, 0, len(window.level))
    if len(edges) > 2:
        hearing = yield from hear(samples, edges, window.speech, listener)
        preferred = _as_likely(window, hearing) or _fits_better(window, hearing)
        if preferred and not hearing.faults & WHOLE and _believable(window, hearing):
            return _taken(window, hearing)
        window = _kept(window, "utterances", hearing)
        if not hearing.faults & WHOLE and _says_as_much(window, hearing):
            kept = replace(window.outcome, flags=window.outcome.flags - {"repetition"})
            more = _letters(hearing.words) >= total_letters(words_of(kept.result.text)) + NEWS
            return replace(window, outcome=kept, confirmed=() if more else ((0, len(window.level)),))
    if window.outcome.flags & {"truncated", "too_dense"}:
        return replace(window, outcome=cut_loop(window.outcome))
    return window


def _by_likeness(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode separately each round of what is said again and again, as the sound tells.

    Decoders skip such rounds, and write too many; all texts of a loop are likely.
    """
    edges = parts(rounds(samples, window.level), window.speech)
    if len(edges) < 3:
        return window
    hearing = yield from hear(samples, edges, window.speech, listener, sparing=True, changes={"prompt": None})
    same = tuple(alike(hearing.words, edges))
    if 2 * len(same) < len(edges):
        return _kept(window, "rounds by sound", hearing)
    said = _letters(hearing.words)
    other = abs(said - total_letters(words_of(window.outcome.result.text)))
    if other < said / (2 * len(edges) - 2) and not (window.gaps or "truncated" in window.outcome.flags):
        kept = replace(window.outcome, flags=window.outcome.flags - {"repetition"})
        return _kept(replace(window, outcome=kept, confirmed=same), "rounds by sound", hearing)
    return replace(_taken(window, hearing), confirmed=same)


def _may_have_rounds(window: Doubtful, _: Listener) -> bool:
    """Whether a text repeats itself or takes far less time to say than there is speech."""
    looped = window.outcome.flags & {"repetition", "truncated", "too_dense"}
    return (
        bool(looped) or repeats(window.outcome.result.text) or any(gap.missing >= GAP for gap in window.gaps)
    )


def _by_rounds(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each utterance of a window that says one thing again and again: the audio tells how often."""
    edges = utterances(window.level, window.speech, SHORT_PAUSE, 0, len(window.level))
    hearing = yield from hear(samples, edges, window.speech, listener)
    words = recounted(hearing.words, window.outcome.result.text, window.level, window.speech)
    if words:
        return _taken(window, replace(hearing, words=tuple(words)))
    return _kept(window, "rounds", hearing)


def _is_miscounted(window: Doubtful, _: Listener) -> bool:
    text = window.outcome.result.text
    counted = window.confirmed or "truncated" in window.outcome.flags
    return not counted and miscounted(text, window.level, window.speech)


def _fits_better(window: Doubtful, hearing: Hearing) -> bool:
    """Whether a text takes about as long to say as the speech lasts, and the first one does not.

    Loops are likely, so the probability does not tell how often something is said.
    """
    first = words_of(window.outcome.result.text)
    if "repetition" not in window.outcome.flags or not (window.spoken and first and hearing.words):
        return False
    now = [word.place.text for word in hearing.words]
    return _misfit(now, window.spoken) < _misfit(first, window.spoken) - OTHER_LENGTH


def _misfit(words: Sequence[str], speech: float) -> float:
    """How far the time that words take to say is from these seconds of speech (log ratio)."""
    return abs(math.log(sum(map(spoken_seconds, words)) / speech))


def _says_as_much(window: Doubtful, hearing: Hearing) -> bool:
    """Whether both texts have similar length, so that repetition was really spoken."""
    stood = total_letters(words_of(window.outcome.result.text))
    return ALIKE * stood <= _letters(hearing.words) <= stood / ALIKE


def _fill_gaps(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each gap, from the pause before it to the pause after it, in one piece."""
    for gap in reversed(window.gaps):  # from the last one, so that words before it keep their positions
        hearing = yield from hear(samples, [gap.start, gap.end], window.speech, listener)
        brief = gap.missing < SURELY_MORE and _is_one_utterance(window, gap, listener)
        sure = brief or not _left_over(window, gap, hearing)
        window = _filled(window, gap, hearing, sure=sure)
    return window


def _fill_by_utterance(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode each utterance of the remaining gaps separately, so that repetitions are written twice.

    Without the prompt: it may contain what was skipped.
    """
    for gap in reversed(window.gaps):
        if _is_one_utterance(window, gap, listener):
            continue
        edges = _parts(window, gap)
        hearing = yield from hear(
            samples, edges, window.speech, listener, sparing=True, changes={"prompt": None}
        )
        window = _filled(window, gap, hearing, sure=hearing.whole)
    return window


def _is_one_utterance(window: Doubtful, gap: Gap, listener: Listener) -> bool:
    """Whether both ways to fill a gap are the same."""
    return len(_parts(window, gap)) == 2 and not listener.base.prompt


def _parts(window: Doubtful, gap: Gap) -> list[int]:
    """The edges of the utterances in a gap; without a pause it may be several rounds of a short sentence."""
    edges = utterances(window.level, window.speech, PAUSE, gap.start, gap.end)
    if len(edges) == 2:
        edges = utterances(window.level, window.speech, SHORT_PAUSE, gap.start, gap.end)
    return edges


def _left_over(window: Doubtful, gap: Gap, hearing: Hearing) -> bool:
    """Whether the second decoding also has a gap."""
    speech = np.zeros_like(window.speech)
    speech[gap.start : gap.end] = window.speech[gap.start : gap.end]
    return missing([word.place for word in hearing.words], speech, window.nuclei) >= SUSPECTED


def _filled(window: Doubtful, gap: Gap, hearing: Hearing, *, sure: bool) -> Doubtful:
    """Insert what is new in a decoding, or confirm the stretch; `sure`: the decoding covers all of it."""
    standing = words_heard(window.outcome.result, 0.0, window.speech)
    inside = standing[gap.first : gap.last]
    before = standing[gap.first - 1] if gap.first else None
    after = standing[gap.last] if gap.last < len(standing) else None
    both = merged(inside, hearing.words, before, after, short=gap.missing < GAP)
    heard, said, stood = (_letters(words) for words in (hearing.words, both, inside))
    news = said - stood >= max(NEWS, ASKED_FOR * gap.missing / LETTER_SECONDS)
    if news and not _useless(window, hearing):
        words = [*standing[: gap.first], *both, *standing[gap.last :]]
        return _replaced(window, with_words(window.outcome.result, words, hearing.result))
    known = [word for word in (before, *inside, after) if word is not None]
    as_much = stood and heard >= SAME * stood
    if sure and not news and (as_much or is_part_of(hearing.words, known)):
        return replace(window, confirmed=(*window.confirmed, (gap.start, gap.end)))
    return _kept(window, "gap", hearing)


def _useless(window: Doubtful, hearing: Hearing) -> bool:
    """Whether the text of a gap has a fault; an unlikely one may be added to an unlikely text."""
    if hearing.faults & _USELESS == {"low_logprob"} == window.outcome.flags & _USELESS:
        return hearing.result.avg_logprob < window.outcome.result.avg_logprob - WORSE
    return bool(hearing.faults & _USELESS)


def _letters(words: Iterable[Word]) -> int:
    return total_letters(word.place.text for word in words)


def _in_other_surroundings(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode a brief window between more silence, and a quieter one: the likeliest text wins.

    What a model makes of a short, unclear utterance depends on the silence around it and on its level.
    """
    best: Hearing | None = None
    for before, whole, gain in SURROUNDINGS:
        hearing = yield from _surrounded(window, samples, listener, before, whole, gain)
        other: Hearing | None = hearing
        likeliest = (best or window.outcome).result.avg_logprob
        sound = _believable(window, hearing) and not hearing.faults & _SPOILT
        if sound and hearing.result.avg_logprob > likeliest:
            best, other = hearing, best
        if other is not None:
            window = _kept(window, "other surroundings", other)
    if best is None:
        return window
    mended = _taken(window, best)
    flags = mended.outcome.flags | (best.faults & {"low_logprob"})
    return replace(mended, outcome=replace(mended.outcome, flags=flags))


def _surrounded(
    window: Doubtful, samples: Samples, listener: Listener, before: float, whole: float, gain: float
) -> Generator[DecodeRequest, WindowResult, Hearing]:
    """Decode the window after `before` seconds of silence, in `whole` seconds, and louder by `gain` dB."""
    longest = round(listener.longest * SAMPLE_RATE)
    first = max(0, min(round(before * SAMPLE_RATE), longest - len(samples)))
    behind = max(0, min(round(whole * SAMPLE_RATE), longest) - first - len(samples))
    padded: Samples = np.pad(samples * np.float32(10 ** (gain / 20)), (first, behind))
    asked = request(samples, listener.base, listener.options, window.spoken)
    result = within_audio((yield replace(asked, samples=padded)))
    words = words_heard(result, -first / SAMPLE_RATE, window.speech)
    return Hearing(result, tuple(words), judge(result, window.spoken, listener.base.prompt))


def _is_unclear(window: Doubtful, _: Listener) -> bool:
    """Whether a brief window has a text that is sound but not likely."""
    result = window.outcome.result
    sound = bool(result.text) and not (window.unheard or window.confirmed or window.outcome.flags & _SPOILT)
    return sound and window.seconds < BRIEF and result.avg_logprob < UNCLEAR


def _between_other_silences(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the speech between other lengths of silence: one of them usually gives a short word once."""
    voiced = np.flatnonzero(window.speech)
    if not len(voiced):
        return window
    first, last = max(0, int(voiced[0]) - _EDGE), int(voiced[-1]) + 1 + _EDGE
    spoken = samples[first * FRAME : last * FRAME]
    for before, behind in MARGINS:
        padded = np.pad(spoken, (round(before * SAMPLE_RATE), round(behind * SAMPLE_RATE)))
        result = yield request(padded, listener.base, listener.options, window.spoken)
        result = replace(result, places=(), words=None, segments=())
        hearing = Hearing(
            result, tuple(words_heard(result, 0.0, window.speech)), judge(result, window.spoken)
        )
        if hearing.words and not hearing.faults:
            return _taken(window, hearing)
        window = _kept(window, f"{before:g} and {behind:g} s of silence", hearing)
    return window


def _in_halves(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode both halves of the window, cut where it is quiet."""
    edges = halves(window.level, window.speech)
    hearing = yield from hear(samples, edges, window.speech, listener)
    return _if_better(window, "halves", hearing)


def _by_cpu(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window with the CPU encoder instead of the NPU."""
    hearing = yield from _whole(window, samples, listener, {"cpu_encoder": True})
    return _if_better(window, "CPU encoder", hearing)


def _by_second_model(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window with the second model."""
    hearing = yield from hear(samples, [0, len(window.level)], window.speech, listener, second=True)
    return _if_better(window, "second model", hearing)


def _whole(
    window: Doubtful, samples: Samples, listener: Listener, changes: dict[str, object]
) -> Generator[DecodeRequest, WindowResult, Hearing]:
    return hear(samples, [0, len(window.level)], window.speech, listener, changes=changes)


def _if_better(window: Doubtful, name: str, hearing: Hearing) -> Doubtful:
    sound = not hearing.faults & WHOLE
    if hearing.faults & WHOLE == {"repetition"}:
        sound = _fits_better(window, hearing)
    better = sound and _believable(window, hearing) and _says_more(window, hearing)
    return _taken(window, hearing) if better else _kept(window, name, hearing)


def _believable(window: Doubtful, hearing: Hearing) -> bool:
    """Whether a decoding has text, with a credible number of words for its speech."""
    words = len(hearing.words)
    if hearing.result.error is not None or not words:
        return False
    return window.spoken < ENOUGH_SPEECH or LEAST_RATE <= words / window.spoken <= MOST_RATE


def _says_more(window: Doubtful, hearing: Hearing) -> bool:
    """Whether a decoding improves the text: any text, a more likely one, or more of it."""
    before, now = window.outcome.result, hearing.result
    if window.outcome.flags & WHOLE:
        return True
    if "low_logprob" in window.outcome.flags and not window.unheard:
        return now.avg_logprob >= before.avg_logprob + WORSE
    return letters(now.text) >= letters(before.text) + NEWS


def _as_likely(window: Doubtful, hearing: Hearing) -> bool:
    """Whether the new text is about as likely; a text cut off by the token limit does not count."""
    before = window.outcome
    return "truncated" in before.flags or hearing.result.avg_logprob >= before.result.avg_logprob - WORSE


def _taken(window: Doubtful, hearing: Hearing) -> Doubtful:
    before = window.outcome.result
    result = with_words(hearing.result, hearing.words, replace(hearing.result, tokens=()))
    if any(word.timed is None for word in hearing.words):
        result = replace(result, words=None)
    if not before.places and not hearing.result.places:
        result = replace(result, places=())
    return _replaced(window, result)


def _replaced(window: Doubtful, result: WindowResult) -> Doubtful:
    before = window.outcome
    flags = (before.flags - _MENDED) | {"recovered"}
    others = (*before.others, hypothesis("first", before.result))
    return replace(window, outcome=replace(before, result=result, flags=flags, others=others), thin=False)


def _kept(window: Doubtful, name: str, hearing: Hearing) -> Doubtful:
    others = (*window.outcome.others, hypothesis(name, hearing.result))
    return replace(window, outcome=replace(window.outcome, others=others))


def _length(window: Doubtful) -> float:
    return window.seconds


def beyond_budget(window: Doubtful) -> float:
    """Seconds that may be decoded besides the budget: its gaps, and all of it if its text repeats itself."""
    return GAPS_AGAIN * _in_gaps(window) + window.seconds * repeats(window.outcome.result.text)


def _in_gaps(window: Doubtful) -> float:
    """Seconds of audio in its gaps."""
    return sum(gap.end - gap.start for gap in window.gaps) / FRAMES_PER_SECOND


def _has_gaps(window: Doubtful, _: Listener) -> bool:
    return not (window.unheard or window.outcome.flags & WHOLE) and bool(window.gaps)


STRATEGIES: tuple[Strategy, ...] = (
    Strategy(
        "without prompt",
        lambda window, listener: (
            bool(listener.base.prompt) and (window.faulty or "prompt_echo" in window.outcome.flags)
        ),
        _length,
        _without_prompt,
    ),
    Strategy("rounds by sound", _may_have_rounds, _length, _by_likeness),
    Strategy(
        "utterances",
        lambda window, _: bool(window.outcome.flags & {"repetition", "truncated"}),
        _length,
        _by_utterance,
    ),
    Strategy(
        "other surroundings",
        _is_unclear,
        lambda window: sum(max(before + window.seconds, whole) for before, whole, _ in SURROUNDINGS),
        _in_other_surroundings,
    ),
    Strategy("rounds", _is_miscounted, _length, _by_rounds),
    Strategy("gaps", _has_gaps, _in_gaps, _fill_gaps),
    Strategy("gaps by utterance", _has_gaps, _in_gaps, _fill_by_utterance),
    Strategy(
        "other silences",
        lambda window, _: window.outcome.flags == {"too_dense"},
        lambda window: (
            sum(map(sum, MARGINS)) + len(MARGINS) * (window.spoken + 2 * _EDGE / FRAMES_PER_SECOND)
        ),
        _between_other_silences,
    ),
    Strategy("halves", lambda window, _: window.faulty, _length, _in_halves),
    Strategy(
        "CPU encoder",
        lambda window, _: window.faulty and window.outcome.result.encoder_backend == "hailo",
        _length,
        _by_cpu,
    ),
    Strategy(
        "second model",
        lambda window, listener: window.faulty and listener.second,
        _length,
        _by_second_model,
    ),
)
