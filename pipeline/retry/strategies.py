"""The retry strategies: a table of values, tried in order until none is needed.

docs/retries.md lists costs and gains on human speech. A strategy is a generator: it yields requests,
receives results, and returns the outcome. It depends on the window alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from asr_batch.models.recognizer import Samples, WindowResult
from asr_batch.pipeline.guards import WHOLE, echoes
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.context import after_text_before, is_unsure
from asr_batch.pipeline.retry.doubtful import (
    MENDED,
    Attempt,
    Doubtful,
    if_better,
    kept_aside,
    says_as_much,
    taken,
)
from asr_batch.pipeline.retry.filling import fill_by_utterance, fill_gaps, has_gaps, seconds_in_gaps
from asr_batch.pipeline.retry.hearing import Hearing, Listener, hear
from asr_batch.pipeline.retry.repeating import (
    by_rounds,
    by_sound,
    by_utterance,
    is_miscounted,
    may_have_rounds,
)
from asr_batch.pipeline.retry.surroundings import in_other_surroundings, is_unclear, seconds_surrounded
from asr_batch.pipeline.text.repetition import repeats
from asr_batch.pipeline.thresholds import GAPS_AGAIN
from asr_batch.pipeline.windows.utterances import halves


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to decode a window again.

    `wanted`: whether the window needs it; `cost`: seconds of audio that it decodes at most. `in_turn`: it is
    for windows after likely text, and a window waits for those that this text is of.
    """

    name: str
    wanted: Callable[[Doubtful, Listener], bool]
    cost: Callable[[Doubtful], float]
    attempt: Callable[[Doubtful, Samples, Listener], Attempt]
    in_turn: bool = False


def _without_prompt(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window without its prompt.

    Decoders repeat a prompt's words, or take what it says for said and end early. Words that are heard
    without the prompt too are no echo, unless they loop or are far more or fewer.
    """
    hearing = yield from _whole(window, samples, listener, {"prompt": None})
    if "prompt_echo" not in window.outcome.flags:
        return if_better(window, "without prompt", hearing)
    real = echoes(hearing.result.text, listener.base.prompt)
    sound = not window.outcome.flags & (MENDED - {"low_logprob", "prompt_echo"})
    whole = real and sound and says_as_much(window, hearing)
    if whole or hearing.faults & WHOLE or not hearing.words:
        kept = replace(window.outcome, flags=window.outcome.flags - {"prompt_echo"})
        return kept_aside(
            replace(window, outcome=kept if real else window.outcome), "without prompt", hearing
        )
    return taken(window, hearing)


def _in_halves(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode both halves of the window, cut where it is quiet."""
    edges = halves(window.level, window.speech)
    hearing = yield from hear(samples, edges, window.speech, listener)
    return if_better(window, "halves", hearing)


def _by_cpu(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window with the CPU encoder instead of the NPU."""
    hearing = yield from _whole(window, samples, listener, {"cpu_encoder": True})
    return if_better(window, "CPU encoder", hearing)


def _by_second_model(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window with the second model."""
    hearing = yield from hear(samples, [0, len(window.level)], window.speech, listener, second=True)
    return if_better(window, "second model", hearing)


def _whole(
    window: Doubtful, samples: Samples, listener: Listener, changes: dict[str, object]
) -> Generator[DecodeRequest, WindowResult, Hearing]:
    changes = {**changes, "draft": window.outcome.result.tokens}
    return hear(samples, [0, len(window.level)], window.speech, listener, changes=changes)


def _length(window: Doubtful) -> float:
    return window.seconds


def beyond_budget(window: Doubtful) -> float:
    """Seconds that may be decoded besides the budget: its gaps, and all of it if its text repeats itself."""
    return GAPS_AGAIN * seconds_in_gaps(window) + window.seconds * repeats(window.outcome.result.text)


STRATEGIES: tuple[Strategy, ...] = (
    Strategy(
        "without prompt",
        lambda window, listener: (
            bool(listener.base.prompt) and (window.faulty or "prompt_echo" in window.outcome.flags)
        ),
        _length,
        _without_prompt,
    ),
    Strategy("rounds by sound", may_have_rounds, _length, by_sound),
    Strategy(
        "utterances",
        lambda window, _: bool(window.outcome.flags & {"repetition", "truncated"}),
        _length,
        by_utterance,
    ),
    Strategy("other surroundings", is_unclear, seconds_surrounded, in_other_surroundings),
    Strategy("rounds", is_miscounted, _length, by_rounds),
    Strategy("gaps", has_gaps, seconds_in_gaps, fill_gaps),
    Strategy("gaps by utterance", has_gaps, seconds_in_gaps, fill_by_utterance),
    Strategy("halves", lambda window, _: window.unheard, _length, _in_halves),
    Strategy("after the text before", is_unsure, _length, after_text_before, in_turn=True),
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
