"""Texts that say the same again: loops of a decoder, and what is really said several times."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from asr_batch.pipeline.text.words import normal, normal_letters, normal_words, words_of
from asr_batch.pipeline.thresholds import (
    COMPRESSION,
    DIGIT_TIMES,
    LETTERS_TIMES,
    LOOP_LETTERS,
    LOOP_SENTENCE,
    LOOP_SPAN,
    LOOP_TIMES,
)

_LETTERS_LOOP = re.compile(rf"(\D{{1,{LOOP_LETTERS}}}?)\1{{{LETTERS_TIMES - 1},}}")


def compression_ratio(text: str) -> float:
    """Compression ratio of the text with zlib (Whisper's measure of repetition); 0 without text."""
    return _ratio(text.encode("utf-8"))


def is_loop(text: str) -> bool:
    """Whether the text repeats itself more than speech does."""
    words = [word for word in words_of(text) if normal(word)]
    if _loop(words, LOOP_SPAN) is not None:
        return True
    return compression_ratio(text) > COMPRESSION and _ratio(_one_byte_each(text)) > COMPRESSION


def _ratio(data: bytes) -> float:
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _one_byte_each(text: str) -> bytes:
    """The text as if its letters were Latin: two or three bytes per letter look repetitive in other scripts.

    Three sentences in Russian that differ in a word each have a ratio of 2.6 in UTF-8, their English
    translations one of 2.3.
    """
    codes = {letter: index for index, letter in enumerate(sorted(set(text)))}
    return bytes(codes[letter] % 256 for letter in text)


def _loop(words: Sequence[str], longest: int) -> tuple[int, int] | None:
    """Words [first, last) of the first round of a loop (see thresholds) of at most `longest` words."""
    compared = [normal(word) for word in words]
    for span in range(1, longest + 1):
        # Numbers are read digit by digit: "nine nine nine nine" is not a loop.
        rounds = DIGIT_TIMES if span == 1 else LOOP_TIMES
        same = 0
        for index in range(span, len(compared)):
            same = same + 1 if compared[index] == compared[index - span] else 0
            if same >= span * (rounds - 1):
                return index + 1 - same - span, index + 1 - same
    return None


def loop_of(text: str) -> tuple[int, int] | None:
    """Words [first, last) of the first round of a loop in a text that other guards have found to be one."""
    return _loop(words_of(text), LOOP_SENTENCE)


def before_letters_loop(text: str) -> str:
    """The text up to the end of the first round of a loop of letters; all of it without one."""
    loop = _LETTERS_LOOP.search(text)
    return text[: loop.end(1)] if loop else text


def doubled(text: str) -> bool:
    """Whether the text consists of one phrase written twice."""
    words = normal_words(text)
    half = len(words) // 2
    return half > 0 and words[:half] == words[half:]


def rounds(text: str) -> tuple[str, int]:
    """The letters of the shortest phrase or word that the whole text repeats, and how often."""
    letters = normal_letters(text)
    for length in range(1, len(letters) // 2 + 1):
        times, rest = divmod(len(letters), length)
        if not rest and letters == letters[:length] * times:
            return letters[:length], times
    return letters, min(1, len(letters))


def repeats(text: str) -> bool:
    """Whether most of the text is a phrase that occurs twice or more in a row."""
    words = normal_words(text)
    for length in range(1, len(words) // 2 + 1):
        same = sum(one == other for one, other in zip(words, words[length:], strict=False))
        if 2 * (same + length) > len(words) and same >= length:
            return True
    return False
