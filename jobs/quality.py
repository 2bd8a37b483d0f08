"""Word and character error rates against a reference, for a row, a data set, and slices of it.

Both texts first go through Whisper's normaliser (Radford et al. 2022, appendix C): the English one for
English, the basic one for all other languages. Counts are stored instead of rates, so that rates over
several rows are pooled (errors over reference words), never averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any, Literal

UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
"""Languages written without spaces: every character counts as a word, as in Whisper's own evaluation."""

DURATIONS = (
    (5.0, "under 5 s"),
    (10.0, "5-10 s"),
    (30.0, "10-30 s"),
    (120.0, "30 s-2 min"),
    (600.0, "2-10 min"),
)
DURATION_NAMES = (*(name for _, name in DURATIONS), "over 10 min")
COUNTS = ("reference_words", "word_errors", "reference_characters", "character_errors")
"""The columns of a row's counts, in the order of :class:`Errors`."""

SLICES = ("language", "duration", "node", "backend")

Normaliser = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Errors:
    """Edit counts of one row or of several; `a + b` pools them.

    `words` and `characters` are counts of the references; `rows` is the number of texts compared.
    """

    words: int = 0
    word_errors: int = 0
    characters: int = 0
    character_errors: int = 0
    rows: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Errors) -> Errors:
        return Errors(*(one - two for one, two in zip(astuple(self), astuple(other), strict=True)))

    @property
    def wer(self) -> float:
        """Word errors over reference words; without reference words 0.0, or 1.0 for other text."""
        return _rate(self.word_errors, self.words)

    @property
    def cer(self) -> float:
        """Character errors over reference characters, spaces included; see :attr:`wer` for no reference."""
        return _rate(self.character_errors, self.characters)


def _rate(errors: int, total: int) -> float:
    return errors / total if total else float(errors > 0)


def score(reference: str, hypothesis: str, language: str | None) -> tuple[float, float]:
    """(WER, CER) of one text as shares (0.1 is 10 %); insertions can make them exceed 1.0."""
    errors = compare(reference, hypothesis, language)
    return errors.wer, errors.cer


def compare(reference: str, hypothesis: str, language: str | None) -> Errors:
    """Count the edits between `reference` and `hypothesis`, both normalised for `language`."""
    normalise = normaliser(language)
    expected = normalise(reference)
    said = expected if hypothesis == reference else normalise(hypothesis)
    word_errors = _edits(expected, said, "words")
    character_errors = _edits(expected, said, "characters")
    return Errors(len(expected.split()), word_errors, len(expected), character_errors, 1)


def errors_of(row: Mapping[str, Any]) -> Errors | None:
    """The errors of a transcript row, or None without a reference; a failed row counts as empty text.

    Uses the counts stored in the row if it has them, because they depend on its language in the manifest.
    """
    if row.get("reference") is None:
        return None
    counts = [int(row[name]) for name in COUNTS if row.get(name) is not None]
    if len(counts) == len(COUNTS):
        words, word_errors, characters, character_errors = counts
        return Errors(words, word_errors, characters, character_errors, 1)
    return compare(row["reference"], said(row), row.get("language"))


def said(row: Mapping[str, Any]) -> str:
    """The text of a row for scoring: empty if it failed."""
    return "" if row["status"] == "failed" else row.get("text") or ""


def _edits(expected: str, said: str, unit: Literal["words", "characters"]) -> int:
    """Substitutions, deletions and insertions between two normalised texts."""
    if expected == said:
        return 0
    if not expected or not said:  # jiwer < 4 rejects an empty reference
        count = (lambda text: len(text.split())) if unit == "words" else len
        return count(expected) + count(said)
    import jiwer  # only rows with a reference need it

    found = (
        jiwer.process_words(expected, said) if unit == "words" else jiwer.process_characters(expected, said)
    )
    return int(found.substitutions + found.deletions + found.insertions)


def normaliser(language: str | None) -> Normaliser:
    """Whisper's normaliser for a language code or name (`en`, `en-US`, `english`; None: unknown)."""
    code = (language or "").strip().lower().replace("_", "-").split("-")[0]
    if code in ("en", "english"):
        return _english()
    return _basic(code in UNSPACED)


@cache
def _english() -> Normaliser:
    from whisper_normalizer.english import EnglishTextNormalizer  # only rows with a reference need it

    normalise = EnglishTextNormalizer()
    return lambda text: " ".join(normalise(text).split())


@cache
def _basic(split_letters: bool) -> Normaliser:
    from whisper_normalizer.basic import BasicTextNormalizer  # only rows with a reference need it

    normalise = BasicTextNormalizer(split_letters=split_letters)
    return lambda text: " ".join(normalise(text).split())


class Slices:
    """Pooled errors by language, duration, node and backend, added row by row.

    A failed row counts as empty text, so that failing does not improve the rate.
    """

    def __init__(self) -> None:
        self.total = Errors()
        self.failed = 0
        self.groups: dict[str, dict[str, Errors]] = {name: {} for name in SLICES}

    def add(self, row: Mapping[str, Any]) -> Errors | None:
        """Add the errors of one transcript row; None for a row without a reference."""
        errors = errors_of(row)
        if errors is None:
            return None
        self.failed += row["status"] == "failed"
        self.total += errors
        for name, value in slice_of(row).items():
            group = self.groups[name]
            group[value] = group.get(value, Errors()) + errors
        return errors


def slice_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The slices of a transcript row, by slice name."""
    return {
        "language": row.get("language") or "unknown",
        "duration": duration_slice(row.get("duration") or 0.0),
        "node": row.get("node") or "unknown",
        "backend": row.get("encoder_backend") or "unknown",
    }


def duration_slice(seconds: float) -> str:
    """The name of a row's duration class."""
    return next((name for limit, name in DURATIONS if seconds < limit), DURATION_NAMES[-1])
