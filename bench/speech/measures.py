"""Errors of a row, located by the clips that its recording is joined from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Self

import jiwer
import numpy as np

from asr_batch.jobs.quality import normaliser
from asr_batch.models.recognizer import SAMPLE_RATE
from bench.speech.clips import Recording, Said
from bench.speech.runners import Row

_FRAME = SAMPLE_RATE // 100

_NEAR = 0.5
"""Tolerance in seconds for the position of a lost word, as words are spread evenly over their clip."""


@dataclass(frozen=True)
class Pooled:
    """Numbers that `a + b` adds up, each with its own."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Edits(Pooled):
    """Words of the references, and the edits to the text; `a + b` pools them."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All of them."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def kinds(self) -> str:
        """Substitutions / deletions / insertions."""
        return f"{self.substitutions} / {self.deletions} / {self.insertions}"

    @property
    def wer(self) -> float:
        """Errors over reference words."""
        return self.errors / max(1, self.words)


def edits(expected: str, said: str) -> Edits:
    """The edits that turn the words of `expected` into those of `said`."""
    if not expected or not said:
        return Edits(len(expected.split()), 0, len(expected.split()), len(said.split()))
    found = jiwer.process_words(expected, said)
    return Edits(len(expected.split()), found.substitutions, found.deletions, found.insertions)


def _plain(text: str) -> str:
    return " ".join(text.replace("\u2019", "'").split())


@dataclass
class Alarms:
    """Stretches reported as uncovered: seconds in total, and at lost words; lost words in total, and in
    such stretches.

    Also counts rows with all words that are `partial`, and rows with all words.
    """

    seconds: float = 0.0
    right: float = 0.0
    lost: int = 0
    named: int = 0
    complete: int = 0
    false: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, recording: Recording, row: Row) -> None:
        """Count one row."""
        lost = lost_words(recording, row.text)
        for start, end in row.uncovered:
            inside = [word for at, word in lost if start - _NEAR <= at <= end + _NEAR]
            self.seconds += end - start
            self.right += (end - start) * bool(inside)
            if not inside:
                self.examples.append(f"{recording.name} {start:.2f}-{end:.2f}: {_around(row, start, end)}")
        self.lost += len(lost)
        self.named += sum(
            any(start - _NEAR <= at <= end + _NEAR for start, end in row.uncovered) for at, _ in lost
        )
        self.complete += not lost
        self.false += not lost and row.status != "ok"


def _around(row: Row, start: float, end: float) -> str:
    """The row's text around a time."""
    near = [text for a, b, text in row.words if b > start - 0.5 and a < end + 0.5]
    return " ".join(near or [text for a, b, text in row.segments if b > start and a < end])[:200]


def lost_words(recording: Recording, text: str) -> list[tuple[float, str]]:
    """(second, word) of each word missing from the text, approximately.

    A place where the text has as many letters as were said, or digits, lacks nothing: it is only written
    differently.
    """
    normalise = normaliser(recording.language)
    words = [(word, at) for said in recording.said for word, at in _timed(said, normalise)]
    expected, heard = [word for word, _ in words], normalise(text).split()
    if not heard:
        return [(at, word) for word, at in words]
    found = jiwer.process_words(" ".join(expected), " ".join(heard))
    lost: list[tuple[float, str]] = []
    for chunks in _regions(found.alignments[0]):
        first, last = chunks[0].ref_start_idx, chunks[-1].ref_end_idx
        got = heard[chunks[0].hyp_start_idx : chunks[-1].hyp_end_idx]
        said = words[first:last]
        if re.search(r"\d", "".join(got)):
            continue
        missing = sum(len(word) for word, _ in said) - sum(map(len, got))
        if missing >= 2 and 2 * sum(map(len, got)) < sum(len(word) for word, _ in said):
            lost += [(at, word) for word, at in said]
    return lost


def in_languages(recording: Recording, row: Row) -> dict[str, tuple[int, int, float, float]]:
    """Of each language: words said, words written, seconds of clips, and seconds of those in the middle of
    which a segment in this language stands.
    """
    normalise = normaliser(None)
    words = [(word, said.language) for said in recording.said for word in normalise(said.text).split()]
    found = jiwer.process_words(" ".join(word for word, _ in words), normalise(row.text) or "-")
    same = [chunk for chunk in found.alignments[0] if chunk.type == "equal"]
    written = [words[i][1] for chunk in same for i in range(chunk.ref_start_idx, chunk.ref_end_idx)]
    out = {}
    for code in sorted({said.language or "" for said in recording.said}):
        clips = [said for said in recording.said if said.language == code]
        right = [said for said in clips if _language_at(row, (said.start + said.end) / 2) == code]
        seconds, heard = (sum(said.end - said.start for said in some) for some in (clips, right))
        out[code] = (sum(one == code for _, one in words), written.count(code), seconds, heard)
    return out


def _language_at(row: Row, at: float) -> str | None:
    near = min(
        range(len(row.segments)),
        key=lambda i: max(row.segments[i][0] - at, at - row.segments[i][1]),
        default=None,
    )
    return None if near is None or near >= len(row.languages) else row.languages[near]


def _regions(chunks: Iterable[jiwer.AlignmentChunk]) -> list[list[jiwer.AlignmentChunk]]:
    """Neighbouring chunks of an alignment that are not equal."""
    regions: list[list[jiwer.AlignmentChunk]] = [[]]
    for chunk in chunks:
        if chunk.type == "equal":
            regions.append([])
        else:
            regions[-1].append(chunk)
    return [region for region in regions if region]


def _timed(said: Said, normalise) -> list[tuple[str, float]]:  # type: ignore[no-untyped-def]
    words = normalise(said.text).split()
    step = (said.end - said.start) / max(1, len(words))
    return [(word, said.start + (i + 0.5) * step) for i, word in enumerate(words)]


def edge_errors(recording: Recording, row: Row) -> list[float]:
    """For the start and end of each clip, the seconds to the nearest start or end of a segment."""
    starts = np.array([start for start, _, _ in row.segments])
    ends = np.array([end for _, end, _ in row.segments])
    if not len(starts):
        return []
    return [
        float(np.abs(edges - at).min())
        for said in recording.said
        for edges, at in ((starts, said.start), (ends, said.end))
    ]


@dataclass
class WordTimes:
    """Number of words, of words with zero duration, and of words outside all clips; `edges`: for the sound of
    each clip, seconds from its beginning to the nearest start of a word, and from its end to the nearest end.
    """

    words: int = 0
    empty: int = 0
    astray: int = 0
    edges: list[float] = field(default_factory=list)

    def add(self, recording: Recording, row: Row) -> None:
        """Count one row."""
        starts = np.array([said.start for said in recording.said])
        ends = np.array([said.end for said in recording.said])
        for start, end, _ in row.words:
            middle = (start + end) / 2
            self.words += 1
            self.empty += end - start < 0.01
            self.astray += not bool(((middle > starts - 0.1) & (middle < ends + 0.1)).any())
        if row.words:
            times = np.array([word[:2] for word in row.words])
            for said in recording.said:
                self.edges += np.abs(times - _audible(recording, said)).min(axis=0).tolist()

    def percentile(self, share: float) -> float:
        """Seconds that this share (in %) of the edges do not exceed."""
        return float(np.percentile(self.edges, share)) if self.edges else np.nan


def _audible(recording: Recording, said: Said) -> tuple[float, float]:
    """Where the sound of a clip begins and ends: 10 ms at most 35 dB below its loudest."""
    first, last = (round(at * SAMPLE_RATE) for at in (said.start, said.end))
    count = (last - first) // _FRAME
    frames = recording.samples[first : first + count * _FRAME].reshape(count, _FRAME)
    power = (frames**2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10**-3.5)
    return said.start + float(loud[0]) / 100, said.start + float(loud[-1] + 1) / 100


def pooled(pairs: Sequence[tuple[Recording, Row]]) -> tuple[Edits, Edits]:
    """Word errors after Whisper's normaliser, and with case and punctuation."""
    normal, written = Edits(), Edits()
    for recording, row in pairs:
        normalise = normaliser(recording.language)
        normal += edits(normalise(recording.text), normalise(row.text))
        written += edits(_plain(recording.text), _plain(row.text))
    return normal, written
