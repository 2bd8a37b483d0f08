"""How much of an error rate is spelling: Spanish texts compared again, with less and less of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from asr_batch.jobs.quality import normaliser
from bench.speech.clips import Recording
from bench.speech.measures import Edits, edits
from bench.speech.runners import Row

_DIGITS = ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"]


def _unaccented(text: str) -> str:
    """Without diacritics."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def _one_by_one(text: str) -> str:
    """Also with each digit as a word of its own: "uno" and "1234" as "1" and "1 2 3 4"."""
    words = (str(_DIGITS.index(word)) if word in _DIGITS else word for word in _unaccented(text).split())
    return " ".join(" ".join(word) if word.isdigit() else word for word in words)


def _unnumbered(text: str) -> str:
    """Also without "número", which the speaker says before digits and the transcripts leave out."""
    return re.sub(r"\b(el |en )?numero\b ?", "", _one_by_one(text))


READINGS: dict[str, Callable[[str], str]] = {
    "as judged": str,
    "without accents": _unaccented,
    "and digits one by one": _one_by_one,
    "and without 'número'": _unnumbered,
}
"""Each applied to both texts after Whisper's normaliser."""


def spelled(pairs: Sequence[tuple[Recording, Row]]) -> dict[str, Edits]:
    """The pooled errors under each reading."""
    normalise = normaliser("es")
    return {
        name: sum(
            (edits(read(normalise(one.text)), read(normalise(row.text))) for one, row in pairs), Edits()
        )
        for name, read in READINGS.items()
    }
