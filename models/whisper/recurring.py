"""How sure a decoder was of a word that it then wrote again and again.

A decoder repeats its own words. What it chose with a probability of 0.4, "color" for "caller", it writes with
0.99 from then on. So one doubtful choice becomes several errors, and no branch mends it: another word in one
place makes the same word less likely in the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from asr_batch.models.whisper.alignment import group_words
from asr_batch.models.whisper.rules import Decoding
from asr_batch.models.whisper.tokenizer import WhisperTokenizer

_TIMES, _LETTERS = 3, 4
"""A word recurs if it occurs this often, and has this many letters: little words are chosen by what follows.
With words that occur twice, up to 7 % of the windows more are asked, and no further error is mended.
"""

_SURE = 0.05
"""Probability of other words up to which the decoder was sure of one. Where it doubts a later one, the choice
depends on the place: "the conference, when", "the conference is".
"""


def recurring_doubt(first: Decoding, tokenizer: WhisperTokenizer) -> float:
    """The probability of other words where a recurring word was written first, of the most doubtful one.

    Needs the `rivals` of a greedy text, and counts only these. Zero if no word recurs.
    """
    places: dict[str, list[range]] = {}
    for text, begin, end in group_words(first.tokens, tokenizer):
        places.setdefault(_letters(text), []).append(range(int(begin), math.ceil(end)))
    most = 0.0
    for word, found in places.items():
        if len(found) >= _TIMES and len(word) >= _LETTERS:
            chosen, *again = (_doubt(first, word, place, tokenizer) for place in found)
            if max(again) <= _SURE:
                most = max(most, chosen)
    return most


def _doubt(first: Decoding, word: str, place: Sequence[int], tokenizer: WhisperTokenizer) -> float:
    """The probability of other words than `word` at the most doubtful of its tokens, those at `place`."""
    return max(
        sum(
            math.exp(logprob)
            for token, logprob in first.rivals[at]
            if not _same(word, first.tokens[place[0] : at], tokenizer.decode([token]), tokenizer)
        )
        for at in place
    )


def _same(word: str, begun: Sequence[int], rival: str, tokenizer: WhisperTokenizer) -> bool:
    """Whether `rival` continues with `word`, with other case or punctuation at most, after tokens of it."""
    if begun and rival.startswith(" ") and _letters(rival):
        return False  # a new word
    return word.startswith(_letters(tokenizer.decode(begun)) + _letters(rival))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
