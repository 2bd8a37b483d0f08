"""How good a transcript is against a reference: word and character error rates, whole and by slice.

Both texts go through Whisper's normaliser first (Radford et al. 2022, appendix C): the English one for
English, the basic one for every other language. Counts are kept, not rates, so that rates of many rows
are pooled (errors over reference words), never averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any, Literal

UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
"""Languages written without spaces: every letter counts as a word, as in Whisper's own evaluation."""

DURATIONS = (
    (5.0, "under 5 s"),
    (10.0, "5-10 s"),
    (30.0, "10-30 s"),
    (120.0, "30 s-2 min"),
    (600.0, "2-10 min"),
)
DURATION_NAMES = (*(name for _, name in DURATIONS), "over 10 min")
COUNTS = ("reference_words", "word_errors", "reference_characters", "character_errors")
"""The columns in which a row keeps its counts, in the order of :class:`Errors`."""

SLICES = ("language", "duration", "node", "backend")

Normaliser = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Errors:
    """Edit counts of one row or of many: `a + b` pools them, and nothing else does.

    `words` and `characters` are those of the references; `rows` counts texts compared.
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
        """Word errors over reference words; without reference words 0.0 or, if anything was said, 1.0."""
        return _rate(self.word_errors, self.words)

    @property
    def cer(self) -> float:
        """Character errors over reference characters, spaces included; see :attr:`wer` for no reference."""
        return _rate(self.character_errors, self.characters)


def _rate(errors: int, total: int) -> float:
    return errors / total if total else float(errors > 0)


def score(reference: str, hypothesis: str, language: str | None) -> tuple[float, float]:
    """(WER, CER) of one text, both as shares (0.1 is 10 %); above 1.0 when much was inserted."""
    errors = compare(reference, hypothesis, language)
    return errors.wer, errors.cer


def compare(reference: str, hypothesis: str, language: str | None) -> Errors:
    """Count the edits that turn `reference` into `hypothesis`, both normalised for `language`."""
    normalise = normaliser(language)
    expected = normalise(reference)
    said = expected if hypothesis == reference else normalise(hypothesis)
    word_errors = _edits(expected, said, "words")
    character_errors = _edits(expected, said, "characters")
    return Errors(len(expected.split()), word_errors, len(expected), character_errors, 1)


def errors_of(row: Mapping[str, Any]) -> Errors | None:
    """The errors of a transcript row, None without a reference; a failed row has heard nothing.

    The row's own counts where it has them, which its language in the manifest took part in.
    """
    if row.get("reference") is None:
        return None
    counts = [int(row[name]) for name in COUNTS if row.get(name) is not None]
    if len(counts) == len(COUNTS):
        words, word_errors, characters, character_errors = counts
        return Errors(words, word_errors, characters, character_errors, 1)
    return compare(row["reference"], said(row), row.get("language"))


def said(row: Mapping[str, Any]) -> str:
    """The text that counts for a row: none where it failed."""
    return "" if row["status"] == "failed" else row.get("text") or ""


def _edits(expected: str, said: str, unit: Literal["words", "characters"]) -> int:
    """Substitutions, deletions and insertions between two normalised texts."""
    if expected == said:
        return 0
    if not expected or not said:  # jiwer before 4 refuses an empty reference
        count = (lambda text: len(text.split())) if unit == "words" else len
        return count(expected) + count(said)
    import jiwer

    found = (
        jiwer.process_words(expected, said) if unit == "words" else jiwer.process_characters(expected, said)
    )
    return int(found.substitutions + found.deletions + found.insertions)


def normaliser(language: str | None) -> Normaliser:
    """Whisper's normaliser for a language code (`en`, `en-US`, `english`, None: unknown)."""
    code = (language or "").strip().lower().replace("_", "-").split("-")[0]
    if code in ("en", "english"):
        return _english()
    return _basic(code in UNSPACED)


@cache
def _english() -> Normaliser:
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise = EnglishTextNormalizer()
    return lambda text: " ".join(normalise(text).split())


@cache
def _basic(split_letters: bool) -> Normaliser:
    from whisper_normalizer.basic import BasicTextNormalizer

    normalise = BasicTextNormalizer(split_letters=split_letters)
    return lambda text: " ".join(normalise(text).split())


class Slices:
    """Pooled errors by language, duration, node and backend, fed row by row.

    A failed row counts as one in which nothing was heard, so that failing cannot pass for hearing well.
    """

    def __init__(self) -> None:
        self.total = Errors()
        self.failed = 0
        self.groups: dict[str, dict[str, Errors]] = {name: {} for name in SLICES}

    def add(self, row: Mapping[str, Any]) -> Errors | None:
        """Count one transcript row in; None for one without a reference."""
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
    """The slices that a transcript row belongs to, by slice name."""
    return {
        "language": row.get("language") or "unknown",
        "duration": duration_slice(row.get("duration") or 0.0),
        "node": row.get("node") or "unknown",
        "backend": row.get("encoder_backend") or "unknown",
    }


def duration_slice(seconds: float) -> str:
    """The name of the length class of a row."""
    return next((name for limit, name in DURATIONS if seconds < limit), DURATION_NAMES[-1])
