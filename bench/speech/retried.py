"""What each retry strategy does to the text of recordings: errors mended and made, seconds decoded.

A text that a strategy put in a window is compared with the one before it, each as part of the whole row, with
the other windows as they are in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass

from asr_batch.jobs.quality import normaliser
from asr_batch.manifests.records import Transcript, WindowRecord
from asr_batch.models.recognizer import SAMPLE_RATE
from asr_batch.pipeline import track
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.retry.attempts import DecodedTrack
from asr_batch.pipeline.retry.doubtful import Doubtful
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.scheduler import Retries
from bench.speech.clips import Recording
from bench.speech.measures import Pooled, edits
from bench.speech.runners import Row, Runner


@dataclass(frozen=True)
class Tried:
    """One strategy on one window, which begins at this second: `seconds` decoded; `settled`: speech is no
    longer missing, or a fault no longer there, without another text.
    """

    strategy: str
    start: float
    seconds: float
    before: Outcome
    after: Outcome
    settled: bool

    @property
    def changed(self) -> bool:
        """Whether the window has another text."""
        return self.before.result.text != self.after.result.text


@dataclass(frozen=True)
class Tally(Pooled):
    """Windows asked for, changed and settled by a strategy; seconds decoded; errors; `a + b` pools them."""

    asked: int = 0
    changed: int = 0
    settled: int = 0
    seconds: float = 0.0
    mended: int = 0
    made: int = 0
    invented: int = 0


class Watched(Retries):
    """Retries that note what they try."""

    tried: list[Tried]

    def __init__(self, decoded: DecodedTrack, listener: Listener) -> None:
        self._spent: dict[int, float] = {}
        super().__init__(decoded, listener)

    def _ask(self, index: int, request: DecodeRequest) -> None:
        super()._ask(index, request)
        self._spent[index] = self._spent.get(index, 0.0) + len(request.samples) / SAMPLE_RATE

    def _take(self, index: int, found: Doubtful) -> None:
        window = self._windows[index]
        second = self._track.stretch.start + self._track.windows[index].start / SAMPLE_RATE
        settled = (window.confirmed, window.outcome.flags) != (found.confirmed, found.outcome.flags)
        spent = self._spent.pop(index, 0.0)
        self.tried.append(Tried(self._strategy.name, second, spent, window.outcome, found.outcome, settled))
        super()._take(index, found)


def watch() -> list[Tried]:
    """A list that everything tried from now on is added to, in order of time."""
    Watched.tried = []
    track.Retries = Watched
    return Watched.tried


def tallies(recording: Recording, row: Transcript, tried: Sequence[Tried]) -> dict[str, Tally]:
    """By strategy, what was tried for this row. Text that the row leaves out counts as unchanged."""
    normalise, out = normaliser(recording.language), dict[str, Tally]()
    expected = normalise(recording.text)
    for one in tried:
        mended = made = invented = 0
        changed = one.changed and _is_kept(row.windows, one.start)
        if changed:
            before, after = (
                edits(expected, normalise(_text(row.windows, one.start, outcome.result.text)))
                for outcome in (one.before, one.after)
            )
            better = before.errors - after.errors
            mended, made = max(0, better), max(0, -better)
            invented = max(0, after.insertions - before.insertions)
        found = Tally(1, changed, one.settled and not changed, one.seconds, mended, made, invented)
        out[one.strategy] = out.get(one.strategy, Tally()) + found
    return out


def watched(
    run: Callable[[Recording], tuple[Row, Transcript]], verbose: bool
) -> Iterator[tuple[str, Runner]]:
    """asr-batch, and the table of its strategies when all that the caller runs is done."""
    tried, total = watch(), dict[str, Tally]()

    def counted(recording: Recording) -> Row:
        tried.clear()
        row, transcript = run(recording)
        for one in tried if verbose else ():
            print(f"{recording.name}, {one.start:.2f} s, {one.strategy}: {one.before} -> {one.after}")
        for strategy, found in tallies(recording, transcript, tried).items():
            total[strategy] = total.get(strategy, Tally()) + found
        return row

    yield "asr-batch", counted
    print("| strategy | asked | changed | settled | seconds | mended | made | invented |")
    for strategy, tally in total.items():
        print(f"| {strategy} | {' | '.join(f'{value:g}' for value in astuple(tally))} |")


def _is_kept(windows: Sequence[WindowRecord], start: float) -> bool:
    return any(window.text for window in windows if abs(window.start - start) < 1e-3)


def _text(windows: Sequence[WindowRecord], start: float, text: str) -> str:
    """The row's text with this one for the window that begins at second `start`."""
    return " ".join(text if abs(window.start - start) < 1e-3 else window.text for window in windows)
