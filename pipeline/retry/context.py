"""A window whose first word is unsure is decoded again after the text before it.

Windows are decoded independently of each other, many at once. That costs little, except where a window
begins: its first words lack what was said before them. Radford et al. (2022, section 4.5) give the decoder
the text before every window; here only those windows get it whose first word the decoder was not sure of,
and only after text of which it was.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.guards import request
from asr_batch.pipeline.records import DecodedWindow
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
from asr_batch.pipeline.thresholds import FIRST_TOKEN, LIKELIER, LIKELY_BEFORE, OTHER_WORDS, SHOWN


def text_before(windows: Iterable[DecodedWindow], language: str | None) -> str:
    """The last `SHOWN` letters of the text of `windows`, the nearest first; empty if it is not likely.

    Text with a fault or in another language than `language` is not shown, nor what was said before it.
    """
    texts, letters, logprob = list[str](), 0, 0.0
    for window in windows:
        if window.outcome is None or window.unspoken:
            continue
        result = window.outcome.result
        if letters >= SHOWN or window.outcome.flags or result.language != language:
            break
        texts.append(result.text)
        letters += len(result.text)
        logprob += len(result.text) * result.avg_logprob
    if not letters or logprob < LIKELY_BEFORE * letters:
        return ""
    text = join_texts(reversed(texts))
    return text if len(text) <= SHOWN else text[-SHOWN:].split(" ", 1)[-1]


def begins_unsure(window: Doubtful, listener: Listener) -> bool:
    """Whether the first word of a sound text is unsure, and there is likely text before it.

    Only engines that search for a likelier text are asked: that a text stays unsure in spite of the search is
    what the thresholds were chosen for.
    """
    sound = not (window.unheard or window.outcome.flags & (SPOILT | {"low_logprob"}))
    unsure = window.outcome.result.first_logprob < FIRST_TOKEN
    return listener.base.search and bool(window.before) and sound and unsure


def after_text_before(window: Doubtful, samples: Samples, listener: Listener) -> Attempt:
    """Decode the window after the text before it: of two versions of a text, the most likely one wins.

    A decoder may repeat what it is shown, or take what it shows for said. So no sentence may come or go.
    """
    prompt = join_texts((listener.base.prompt or "", window.before))
    draft = window.outcome.result.tokens
    shown = replace(listener.base, prompt=prompt, draft=draft, search=False)  # which mends nothing more here
    asked = request(samples, shown, listener.options, window.spoken)
    hearing = heard_whole(window, (yield asked), listener.base.prompt)
    result, first = hearing.result, window.outcome.result
    likelier = result.avg_logprob >= first.avg_logprob + LIKELIER
    better = is_sound(hearing) and likelier and _is_version(result.text, first.text)
    return taken(window, hearing) if better else kept_aside(window, "after the text before", hearing)


def _is_version(text: str, first: str) -> bool:
    """Whether a text says the same as the `first` one but for a few words, each replaced by about as many."""
    old, new = normal_words(first), normal_words(text)
    matched = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [(b - a, d - c) for kind, a, b, c, d in matched if kind != "equal"]
    other = sum(map(max, changed))
    return all(abs(was - now) <= 1 for was, now in changed) and other <= OTHER_WORDS * len(old)
