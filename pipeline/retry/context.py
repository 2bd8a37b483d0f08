"""A window with a doubtful choice that later words follow is decoded again after the text before it.

Windows are decoded independently of each other, many at once. That costs little, except where a window
begins: its first words lack what was said before them. Radford et al. (2022, section 4.5) give the decoder
the text before every window; here only those windows get it that the decoder itself doubts: it was not sure
of the first word, or of one that it then wrote again and again. And only after text of which it was sure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from asr_batch.models.recognizer import Samples, WindowResult
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.requests import request
from asr_batch.pipeline.retry.doubtful import (
    SPOILT,
    Attempt,
    Doubtful,
    heard_whole,
    is_sound,
    kept_aside,
    taken,
)
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.text.words import join_texts, normal_words
from asr_batch.pipeline.thresholds import AS_LIKELY, FIRST_TOKEN, LIKELY_BEFORE, OTHER_WORDS, RECURRING, SHOWN


def text_before(outcomes: Iterable[tuple[int, Outcome]], language: str | None) -> tuple[str, list[int]]:
    """The last `SHOWN` letters of the text of these windows, the nearest first, and the windows it is of.

    Empty if it is not likely. Text with a fault or in another language than `language` is not shown, nor what
    was said before it.
    """
    texts, windows, letters, logprob = list[str](), list[int](), 0, 0.0
    for index, outcome in outcomes:
        result = outcome.result
        if letters >= SHOWN or outcome.flags - {"recovered"} or result.language != language:
            break
        texts.append(result.text)
        windows.append(index)
        letters += len(result.text)
        logprob += len(result.text) * result.avg_logprob
    if not letters or logprob < LIKELY_BEFORE * letters:
        return "", []
    text = join_texts(reversed(texts))
    return text if len(text) <= SHOWN else text[-SHOWN:].split(" ", 1)[-1], windows


class Turns:
    """Which of the windows of a track can be decoded after the text before them.

    A window waits for those that this text is of, if they are decoded again as well.
    """

    def __init__(self, windows: Sequence[DecodedWindow]) -> None:
        self._windows = windows
        self._changing: set[int] = set()

    def text_before(self, window: Doubtful, outcomes: Mapping[int, Outcome]) -> str:
        """Likely text before the next window in order of time; empty if there is none, or it may change.

        `outcomes`: of windows that have another one by now.
        """
        earlier = (self._windows[at] for at in range(window.index - 1, -1, -1))
        said = (
            (one.index, outcomes.get(one.index, one.outcome))
            for one in earlier
            if one.outcome is not None and not one.unspoken
        )
        text, windows = text_before(said, window.outcome.result.language)
        settled = self._changing.isdisjoint(windows)
        if text:
            self._changing.add(window.index)
        return text if settled else ""


def has_unsure_choice(result: WindowResult) -> bool:
    """Whether a text has an unsure choice that the rest of it follows."""
    return result.first_logprob < FIRST_TOKEN or result.recurring_doubt > RECURRING


def is_unsure(window: Doubtful, listener: Listener) -> bool:
    """Whether a sound text has such a choice.

    Only engines that search for a likelier text are asked: that a text stays unsure in spite of the search is
    what the thresholds were chosen for.
    """
    sound = not (window.unheard or window.outcome.flags & (SPOILT | {"low_logprob"}))
    return listener.base.search and sound and has_unsure_choice(window.outcome.result)


def after_text_before(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window after the text before it: of two versions of a text, the more likely one wins.

    Of two that are as likely, it is the one that follows what was said.

    A decoder may repeat what it is shown, or take what it shows for said. So no sentence may come or go.
    """
    prompt = join_texts((listener.base.prompt or "", window.before))
    draft = window.outcome.result.tokens
    shown = replace(listener.base, prompt=prompt, draft=draft, search=False)  # which mends nothing more here
    asked = request(samples, shown, listener.options, window.spoken)
    hearing = heard_whole(window, (yield asked), listener.base.prompt)
    result, first = hearing.result, window.outcome.result
    likely = result.avg_logprob >= first.avg_logprob - AS_LIKELY
    better = is_sound(hearing) and likely and _is_version(result.text, first.text)
    return taken(window, hearing) if better else kept_aside(window, "after the text before", hearing)


def _is_version(text: str, first: str) -> bool:
    """Whether a text says the same as the `first` one but for a few words, each replaced by about as many."""
    old, new = normal_words(first), normal_words(text)
    matched = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [(b - a, d - c) for kind, a, b, c, d in matched if kind != "equal"]
    other = sum(map(max, changed))
    return all(abs(was - now) <= 1 for was, now in changed) and other <= OTHER_WORDS * len(old)
