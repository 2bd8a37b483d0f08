"""How good a transcript is against a reference: word and character error rates, whole and by slice.

Both texts go through Whisper's normaliser first (Radford et al. 2022, appendix C): the English one for
English, the basic one for every other language. Counts are kept, not rates, so that rates of many rows
are pooled (errors over reference words), never averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
SLICES = ("language", "duration", "node", "backend")

Normaliser = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Errors:
    """Edit counts of one row or of many: `a + b` pools them.

    `words` and `characters` are those of the references; `rows` counts texts compared.
    """

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    characters: int = 0
    character_errors: int = 0
    rows: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.characters + other.characters,
            self.character_errors + other.character_errors,
            self.rows + other.rows,
        )

    @property
    def word_errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

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
    edits = _edits(expected, said, "words")
    character_errors = sum(_edits(expected, said, "characters"))
    return Errors(len(expected.split()), *edits, len(expected), character_errors, 1)


def _edits(expected: str, said: str, unit: Literal["words", "characters"]) -> tuple[int, int, int]:
    """(substitutions, deletions, insertions) between two normalised texts."""
    if expected == said:
        return 0, 0, 0
    if not expected or not said:  # jiwer before 4 refuses an empty reference
        count = (lambda text: len(text.split())) if unit == "words" else len
        return 0, count(expected), count(said)
    import jiwer

    found = (
        jiwer.process_words(expected, said) if unit == "words" else jiwer.process_characters(expected, said)
    )
    return found.substitutions, found.deletions, found.insertions


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

    Rows without a reference and failed rows (which have no transcript) are not scored; the latter are
    counted in `unscored`, so that a low WER over few rows cannot pass for a good run.
    """

    def __init__(self) -> None:
        self.total = Errors()
        self.unscored = 0
        self.groups: dict[str, dict[str, Errors]] = {name: {} for name in SLICES}

    def add(self, row: Mapping[str, Any]) -> Errors | None:
        """Score one transcript row (`reference`, `text`, `status`, `language`, ...); None if not scored."""
        reference = row.get("reference")
        if reference is None:
            return None
        if row.get("status") == "failed":
            self.unscored += 1
            return None
        errors = compare(reference, row.get("text") or "", row.get("language"))
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


def pooled(rows: Iterable[Mapping[str, Any]]) -> Slices:
    """Score many transcript rows."""
    slices = Slices()
    for row in rows:
        slices.add(row)
    return slices
