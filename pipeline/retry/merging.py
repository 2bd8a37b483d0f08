"""Merges the text of a second decoding into the first one, without losing a word."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from asr_batch.models.recognizer import TimedText, TimedWord, WindowResult
from asr_batch.pipeline.text.sentences import ends_sentence
from asr_batch.pipeline.text.spoken import spoken_seconds, total_letters
from asr_batch.pipeline.text.wordless import has_digits
from asr_batch.pipeline.text.words import join_texts, normal, similarity
from asr_batch.pipeline.thresholds import LONG_WORD, SAME

_TOUCH = 0.02  # seconds that neighbours may overlap: positions have that resolution


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a decoding with its position, and its time if known; relative to the window."""

    place: TimedText
    timed: TimedWord | None = None


def merged(
    standing: Sequence[Word],
    heard: Sequence[Word],
    before: Word | None = None,
    after: Word | None = None,
    *,
    short: bool = False,
) -> list[Word]:
    """Merge two texts of a stretch; `before`, `after`: the words next to it.

    Keeps every existing word, unless a longer text replaces it, and adds words that only the second text has.
    Of a `short` gap, no word is replaced: most are in both, perhaps written otherwise.
    """
    framed = [before, *standing, after]
    names, others = ([normal(word.place.text) for word in words] for words in (standing, heard))
    others = [_alike(name, names) for name in others]
    out: list[Word] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, names, others, autojunk=False).get_opcodes():
        if kind == "equal":  # unchanged, but where the second text has them: it covers the stretch
            out += [_moved(*pair) for pair in zip(standing[a:b], heard[c:d], strict=True)]
            continue
        new = heard[c:d]
        if new and _is_once(framed[a], new[0]):  # the stretch begins or ends inside a word
            new = new[1:]
        if new and _is_once(new[-1], framed[b + 1]):
            new = new[:-1]
        if new and _is_in_number(new, framed[a]):
            new = ()
        if a == b or (not short and _spoken(new) > 1.5 * _spoken(standing[a:b])):
            out += new
            if b - a == 1 and _is_skipped(new, framed[a : b + 2]):
                out.append(_after(standing[a], new[-1].place.end))
        else:
            out += standing[a:b]
    return out


def _is_skipped(words: Sequence[Word], standing: Sequence[Word | None]) -> bool:
    """Whether the words are a sentence before the one that a word begins (`standing`: with its neighbours).

    The decoder attended to what it skipped while it wrote that word, so its time includes the sentence.
    """
    before, word, after = (one and ends_sentence(one.place.text) for one in standing)
    return before is not False and word is False and after is not None and ends_sentence(words[-1].place.text)


def _after(word: Word, second: float) -> Word:
    """The word without its time before this second."""
    place, timed = word.place, word.timed
    start = max(place.start, min(place.end, second))
    if timed is not None:
        timed = replace(timed, start=max(timed.start, min(timed.end, second)))
    return Word(replace(place, start=start), timed)


def _alike(name: str, names: Sequence[str]) -> str:
    """The most similar of `names`, if the word is one of them written otherwise; else the word."""
    if name in names or len(name) < LONG_WORD:
        return name
    ratios = {one: similarity(one, name) for one in names if len(one) >= LONG_WORD}
    nearest = max(ratios, key=lambda one: ratios[one], default=name)
    return nearest if ratios.get(nearest, 0.0) >= SAME else name


def _is_once(word: Word | None, following: Word | None) -> bool:
    """Whether two words are one that both decodings wrote: too close together to be said twice."""
    if word is None or following is None or normal(word.place.text) != normal(following.place.text):
        return False
    return following.place.start < word.place.start + 2 * spoken_seconds(word.place.text)


def _is_in_number(words: Sequence[Word], before: Word | None) -> bool:
    """Whether the words are said while a number before them still is: "eighty-five" after "8500"."""
    if before is None or not has_digits(before.place.text):
        return False
    middle = (words[0].place.start + words[-1].place.end) / 2
    return before.place.start <= middle < before.place.start + spoken_seconds(before.place.text)


def _moved(word: Word, there: Word) -> Word:
    place = replace(word.place, start=there.place.start, end=there.place.end)
    return Word(place, there.timed and word.timed and replace(there.timed, word=word.timed.word))


def _spoken(words: Sequence[Word]) -> int:
    return total_letters(word.place.text for word in words)


def with_words(result: WindowResult, words: Sequence[Word], more: WindowResult) -> WindowResult:
    """The result with these words instead of its own, some of them from `more`.

    The word before inserted ones ends where they begin: it seemed to last as long as what was missing.
    """
    words = [_ended(*pair) for pair in pairwise(words)] + list(words[-1:])
    timed = in_order([word.timed for word in words if word.timed is not None])
    return replace(
        result,
        text=join_texts(word.place.text for word in words),
        tokens=result.tokens + more.tokens,
        segments=(),
        words=tuple(timed) if result.words is not None and len(timed) == len(words) else None,
        places=tuple(word.place for word in words) if result.places else (),
    )


def _ended(word: Word, following: Word) -> Word:
    here, there = word.place, following.place.start
    return replace(word, place=replace(here, end=min(here.end, there))) if there >= here.start else word


def in_order(words: Sequence[TimedWord]) -> list[TimedWord]:
    """The words one after the other: those that two decodings place at the same time share it.

    None overlaps the next one or lasts no time, unless all do.
    """
    crowds: list[list[TimedWord]] = []
    for word in words:
        if crowds and _crowded(crowds[-1], word):
            crowds[-1].append(word)
        else:
            crowds.append([word])
    limits = [*(crowd[0].start for crowd in crowds[1:]), math.inf]
    return [word for crowd, limit in zip(crowds, limits, strict=False) for word in _shared(crowd, limit)]


def _crowded(crowd: Sequence[TimedWord], word: TimedWord) -> bool:
    """Whether a word needs time of those before it, or leaves them none."""
    last = crowd[-1]
    overlap = max(one.end for one in crowd) - word.start
    return overlap > _TOUCH or word.end <= word.start or last.end <= last.start


def _shared(crowd: Sequence[TimedWord], limit: float) -> Sequence[TimedWord]:
    """Words that share their time, as long as each takes to say; at most until second `limit`."""
    if len(crowd) == 1:
        return crowd
    start, needs = crowd[0].start, [spoken_seconds(word.word) for word in crowd]
    end = max(*(word.end for word in crowd), min(start + sum(needs), limit))
    edges = [start + (end - start) * share / sum(needs) for share in accumulate(needs, initial=0.0)]
    return [replace(word, start=a, end=b) for word, (a, b) in zip(crowd, pairwise(edges), strict=True)]
