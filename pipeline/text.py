"""Words of a transcript, whatever the script: counting, comparing, joining."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_NO_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
"""Scripts that write no blanks between words: Thai, Lao, Burmese, Khmer, kana, Han."""

_LATIN_CODES = """
af az br bs ca cs cy da de en es et eu fi fo fr gl ha haw hr ht hu id is it jw la lb ln lt lv
mg mi ms mt nl nn no oc pl pt ro sk sl sn so sq su sv sw tk tl tr uz vi yo
"""
LATIN = frozenset(_LATIN_CODES.split())
"""Language codes written in Latin letters (they need fewer tokens for a second of speech)."""


def words_of(text: str) -> list[str]:
    """The text's words; in scripts without blanks each character is one."""
    words: list[str] = []
    for piece in text.split():
        words.extend(piece if _NO_SPACES.search(piece) else [piece])
    return words


def join_words(words: Sequence[str]) -> str:
    """Words to text: blanks between them, none between characters of scripts without blanks."""
    out: list[str] = []
    for word in words:
        if out and not (_NO_SPACES.match(word) and _NO_SPACES.match(out[-1][-1])):
            out.append(" ")
        out.append(word)
    return "".join(out)


def join_texts(texts: Iterable[str]) -> str:
    """Texts of consecutive windows to one."""
    out = ""
    for text in texts:
        text = text.strip()
        if not text:
            continue
        glue = " " if out and not (_NO_SPACES.match(text[0]) and _NO_SPACES.match(out[-1])) else ""
        out += glue + text
    return out


def normal(word: str) -> str:
    """The word as it is compared: lower case, letters and digits only."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(character for character in folded if character.isalnum())


def normal_words(text: str) -> list[str]:
    """The text's words as they are compared, without those that are only punctuation."""
    return [word for word in map(normal, words_of(text)) if word]
