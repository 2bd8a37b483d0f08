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
from asr_batch.pipeline.text.words import join_texts, normal, similarity
from asr_batch.pipeline.thresholds import OWN_LETTERS, SAME_WORD

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

    Keeps every existing word, unless a longer one replaces it, and adds words that only the second text
    has, when the word before them has been said. Of a `short` gap, no word is replaced: most are in both,
    perhaps written otherwise.
    """
    framed = [before, *standing, after]
    skipped = _sentence_before(standing[-1], framed[-3], heard) if heard and standing and after else ()
    if skipped:
        rest = _after(standing[-1], skipped[-1].place.end)
        return [*merged(standing[:-1], skipped, before, rest, short=short), rest]
    names, others = ([normal(word.place.text) for word in words] for words in (standing, heard))
    if short:
        others = [_alike(name, names) for name in others]
    out: list[Word] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, names, others, autojunk=False).get_opcodes():
        if kind == "equal":  # unchanged, but where the second text has them: it covers the stretch
            out += [_moved(*pair) for pair in zip(standing[a:b], heard[c:d], strict=True)]
            continue
        new = _new(heard[c:d], framed[a : b + 2])
        cut = b == len(standing) and d == len(heard) and _is_short(names[a:b])
        if short and a < b:
            out += [*new, *standing[a:b]] if cut else standing[a:b]
        else:
            out += new if _spoken(new) > 1.5 * _spoken(standing[a:b]) else standing[a:b]
    return out


def _new(heard: Sequence[Word], known: Sequence[Word | None]) -> Sequence[Word]:
    """What is new of the words heard in place of those `known`, the first and last of which frame them."""
    if heard and _is_its_end(heard[0], known[0]):
        heard = heard[1:]
    if heard and _is_its_start(heard[-1], known[-1]):
        heard = heard[:-1]
    there = [word for word in known if word is not None]
    return () if not heard or is_part_of(heard, there) or _is_covered(heard, known[0]) else heard


def _alike(name: str, names: Sequence[str]) -> str:
    """The most similar of `names`, if the word is one of them written otherwise; else the word."""
    if name in names or len(name) < OWN_LETTERS - 1:
        return name
    ratios = {one: similarity(one, name) for one in names}
    nearest = max(names, key=lambda one: ratios[one], default=name)
    return nearest if ratios.get(nearest, 0.0) >= SAME_WORD else name


def _is_short(names: Sequence[str]) -> bool:
    """Whether the words are a short one, which the end of a stretch may have cut off."""
    return len(names) == 1 and len(names[0]) < OWN_LETTERS - 1


def _sentence_before(word: Word, before: Word | None, heard: Sequence[Word]) -> Sequence[Word]:
    """What is heard of a sentence before the one that `word` begins, if the word's time includes it.

    The decoder attended to what it skipped while it wrote the next word: that is not what is heard in the
    middle of the skipped sentence ("the" of "the pound key", before "The conference has ended").
    """
    name = normal(word.place.text)
    heard = heard[:-1] if normal(heard[-1].place.text) == name else heard
    first = before is None or ends_sentence(before.place.text)
    if not heard or not first or ends_sentence(word.place.text) or not ends_sentence(heard[-1].place.text):
        return ()
    return () if name in [normal(one.place.text) for one in (heard[0], *heard[-2:])] else heard


def _after(word: Word, second: float) -> Word:
    """The word without its time before this second."""
    place, timed = word.place, word.timed
    start = max(place.start, min(place.end, second))
    if timed is not None:
        timed = replace(timed, start=max(timed.start, min(timed.end, second)))
    return Word(replace(place, start=start), timed)


def _is_covered(words: Sequence[Word], before: Word | None) -> bool:
    """Whether the words are said while the one before still is: the same sound written otherwise."""
    if before is None:
        return False
    middle = (words[0].place.start + words[-1].place.end) / 2
    return before.place.start <= middle < before.place.start + spoken_seconds(before.place.text)


def _is_its_end(word: Word, before: Word | None) -> bool:
    """Whether a word is the one before it, written again because the stretch begins inside it."""
    if before is None or normal(word.place.text) != normal(before.place.text):
        return False
    return word.place.start < before.place.start + 2 * spoken_seconds(before.place.text)


def _is_its_start(word: Word, after: Word | None) -> bool:
    """Whether a word is the one after it, written again because the stretch ends inside it."""
    if after is None or normal(word.place.text) != normal(after.place.text):
        return False
    return after.place.start < word.place.start + spoken_seconds(word.place.text)


def _moved(word: Word, there: Word) -> Word:
    place = replace(word.place, start=there.place.start, end=there.place.end)
    return Word(place, there.timed and word.timed and replace(there.timed, word=word.timed.word))


def spelled(word: Word, text: str) -> Word:
    """The word, written in another way."""
    return Word(replace(word.place, text=text), word.timed and replace(word.timed, word=text))


def is_part_of(words: Sequence[Word], neighbours: Sequence[Word]) -> bool:
    """Whether the words are part of a longer existing one: "asterisk.org" in "www.asterisk.org"."""
    text = "".join(normal(word.place.text) for word in words)
    names = [normal(word.place.text) for word in neighbours]
    return len(text) >= OWN_LETTERS and any(text in name and text != name for name in names)


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
