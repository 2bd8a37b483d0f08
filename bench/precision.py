"""What precision and arithmetic cost: the same human speech, decoded with several forms of the same weights.

    python -m bench.precision --clips MANIFEST --forms BUNDLE-fp32 BUNDLE BUNDLE:cpu [--half odd]
        [--window 30] [--languages en,es] [--minutes 6] [--seed 11 12] [--pauses 0.05-0.3 0.5-2]
        [--greedy]

A form is a bundle; `:cpu` behind it runs its graphs in ONNX Runtime instead of the kernels. The first form is
the reference. Cuts depend on the samples alone, so all forms decode the same windows. `--greedy`: neither
search nor retries, so that nothing hides what the arithmetic does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from asr_batch.jobs.quality import normaliser
from asr_batch.manifests.records import Transcript
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import LoadOptions, Recognizer, WindowRequest
from asr_batch.pipeline.options import PipelineOptions
from bench.human import joined_as, seconds_range
from bench.inputs import an_existing_file, start
from bench.speech.clips import PAUSES, Recording, load
from bench.speech.measures import pooled
from bench.speech.runners import Row, ours

Rates = dict[str, list[float]]
"""Word error rates in % of the recordings of each language."""


@dataclass
class Written:
    """What one form wrote, recording by recording."""

    rows: list[Row] = field(default_factory=list)
    transcripts: list[Transcript] = field(default_factory=list)


@dataclass
class Beside:
    """Windows of a form beside those of the reference: how many, how many with another text, and how many
    with the same text but for its last words, which are missing (`shorter`) or added (`longer`); in windows
    with the same text, how much its log-probability differs.
    """

    windows: int = 0
    other: int = 0
    shorter: int = 0
    longer: int = 0
    likelier: list[float] = field(default_factory=list)

    def add(self, reference: Transcript, found: Transcript) -> None:
        """Compare two transcripts of a recording."""
        normalise = normaliser(reference.language)
        theirs = {window.start: window for window in reference.windows if window.text}
        for window in found.windows:
            if (first := theirs.get(window.start)) is None or first.end != window.end:
                continue
            said, expected = normalise(window.text).split(), normalise(first.text).split()
            self.windows += 1
            self.other += said != expected
            self.shorter += len(said) < len(expected) and said == expected[: len(said)]
            self.longer += len(said) > len(expected) and said[: len(expected)] == expected
            if window.tokens == first.tokens:
                self.likelier.append(window.avg_logprob - first.avg_logprob)

    def __str__(self) -> str:
        spread = np.abs(self.likelier).mean() if self.likelier else np.nan
        return (
            f"{self.other} of {self.windows} windows differ, {self.shorter} end earlier, {self.longer} "
            f"later; log-probability of equal ones {np.mean(self.likelier or [np.nan]):+.4f}, "
            f"absolute {spread:.4f}"
        )


class _Greedy:
    """A recognizer that does not search for likelier texts."""

    def __init__(self, inner: Recognizer) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(self, request: WindowRequest) -> None:
        """Pass the window on, to be decoded greedily."""
        self._inner.submit(replace(request, options=replace(request.options, search=False)))


def opened(form: str, args: argparse.Namespace) -> Recognizer:
    """The bundle of a form, with the kernels or with its graphs."""
    folder, _, provider = form.partition(":")
    settings = LoadOptions(threads=args.threads, window=args.window, provider=provider or "auto")
    recognizer = load_recognizer(Path(folder), settings)
    return cast(Recognizer, _Greedy(recognizer)) if args.greedy else recognizer


def written(form: str, recordings: Sequence[Recording], args: argparse.Namespace) -> Written:
    """Transcribe everything with one form."""
    options = PipelineOptions(window=args.window, repair_budget=0.0 if args.greedy else 0.1)
    run, found = ours(opened(form, args), options), Written()
    for recording in recordings:
        row, transcript = run(recording)
        found.rows.append(row)
        found.transcripts.append(transcript)
    return found


def rates(form: str, recordings: Sequence[Recording], rows: Sequence[Row]) -> Rates:
    """Print the errors by language, and their mean; return them by recording."""
    pairs = list(zip(recordings, rows, strict=True))
    table: Rates = {}
    means, cased = [], []
    for code in sorted({recording.language or "mixed" for recording in recordings}):
        some = [pair for pair in pairs if pair[0].language == code]
        normal, as_written = pooled(some)
        wer, cased_wer = 100 * normal.wer, 100 * as_written.wer
        print(f"| {code} | {form} | {wer:.2f} | {normal.kinds} | {cased_wer:.2f} |", flush=True)
        table[code] = [100 * pooled([pair])[0].wer for pair in some]
        means.append(wer)
        cased.append(cased_wer)
    print(f"| mean | {form} | {np.mean(means):.2f} | | {np.mean(cased):.2f} |", flush=True)
    return table


def difference(reference: Rates, found: Rates) -> tuple[float, float]:
    """Mean difference over the languages in points, and its standard error over the recordings."""
    apart = [np.subtract(found[code], reference[code]) for code in reference]
    errors = [np.std(one, ddof=1) / len(one) ** 0.5 if len(one) > 1 else np.nan for one in apart]
    return float(np.mean([one.mean() for one in apart])), float(np.linalg.norm(errors) / len(apart))


def compare(recordings: Sequence[Recording], args: argparse.Namespace) -> None:
    """Every form in turn, beside the first."""
    reference, first = None, None
    for form in args.forms:
        found = written(form, recordings, args)
        table = rates(form, recordings, found.rows)
        if reference is None or first is None:
            reference, first = found, table
            continue
        beside = Beside()
        for theirs, ours_ in zip(reference.transcripts, found.transcripts, strict=True):
            beside.add(theirs, ours_)
        apart, error = difference(first, table)
        print(f"| {form} | {apart:+.2f} points, standard error {error:.2f} | {beside} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=an_existing_file, required=True)
    parser.add_argument("--forms", nargs="+", required=True)
    parser.add_argument("--half", choices=["even", "odd", "all"], default="odd")
    parser.add_argument("--languages", default="")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seed", type=int, nargs="+", default=[11])
    parser.add_argument("--pauses", type=seconds_range, nargs="+", default=[PAUSES])
    parser.add_argument("--window", type=float)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--greedy", action="store_true")
    args = parser.parse_args()
    compare(joined_as(args, load(args.clips, args.half, args.languages)), args)


if __name__ == "__main__":
    start(main)
