"""Fits the score that tells text for speech from text where nobody speaks, and shows what it leaves out.

    python -m bench.unspoken fit TABLE...
    python -m bench.unspoken collect TABLE --model BUNDLE [--window 10] [--sounds MANIFEST] [--clips MANIFEST]
        [--conditions clean white:0 gain:-25] [--cache FOLDER]

`collect` adds a row to the CSV file TABLE for each text of a window, before its retries and after them, with
nothing left out: what the witnesses say of it (`asr_batch.pipeline.unspoken`), and whether it is `right`,
`wrong` or written where `nobody` speaks. MANIFEST is a CSV with `audio` and, of sounds, `kind`, of clips,
`text` and `language`. `fit` prints the weights of the score and how it does on texts whose sources (a kind of
sound; a clip under all its conditions) were left out of the fit. `bench/unspoken.csv` is the table that the
weights of this version were fitted to.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import math
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr_batch.manifests.records import AudioItem
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import SAMPLE_RATE, LoadOptions, Recognizer
from asr_batch.pipeline import track
from asr_batch.pipeline.audio.reader import probe
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.retry.attempts import DecodedTrack
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.scheduler import Retries
from asr_batch.pipeline.text.words import normal_letters, words_of
from asr_batch.pipeline.thresholds import HOPELESS, WEIGHTS
from asr_batch.pipeline.transcribe import Transcriber
from asr_batch.pipeline.unspoken import Witnesses
from asr_batch.pipeline.windows.spans import split_item
from bench.sounds import recorded
from bench.speech.clips import Recording, load, single
from bench.speech.conditions import altered
from bench.speech.remembered import Remembered

Floats = NDArray[np.float64]

FOLDS = 5
SHRINKAGE = 1.0
"""Weight of the squared weights, of standardised signals, beside the log-likelihood of all texts."""

ALIKE = 0.6
"""Share of the letters from which a text is right."""

_LOST = (0, 0.005, 0.01, 0.02, 0.04)


@dataclass(frozen=True)
class Text:
    """A text of a window: its source, its `truth`, its number of words, and what the witnesses say."""

    model: str
    window: float
    source: str
    truth: str
    words: int
    signals: tuple[float, ...]


# The score.


def fitted(signals: Floats, spoken: Floats) -> Floats:
    """Weights of the signals [n, k], and what their sum starts from: the last one (logistic regression)."""
    middle, spread = signals.mean(0), signals.std(0) + 1e-9
    known = np.c_[(signals - middle) / spread, np.ones(len(signals))]
    shrinkage = np.diag([*[SHRINKAGE] * signals.shape[1], 1e-6])
    found = np.zeros(known.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-known @ found))
        slope = known.T @ (chance - spoken) + shrinkage @ found
        curvature = (known.T * (chance * (1 - chance))) @ known + shrinkage
        found -= np.linalg.solve(curvature, slope)
    weights = found[:-1] / spread
    return np.append(weights, found[-1] - weights @ middle)


def held_out(texts: Sequence[Text]) -> Floats:
    """The score of each text by weights that were fitted without its source."""
    signals = np.array([text.signals for text in texts])
    fold = np.array([zlib.crc32(text.source.encode()) % FOLDS for text in texts])
    scores = np.zeros(len(texts))
    for one in range(FOLDS):
        weights = fitted(*told([text for text, place in zip(texts, fold, strict=True) if place != one]))
        scores[fold == one] = signals[fold == one] @ weights[:-1] + weights[-1]
    return scores


def told(texts: Sequence[Text]) -> tuple[Floats, Floats]:
    """Signals [n, k] and truth [n] of texts; wrong ones tell nothing."""
    some = [text for text in texts if text.truth != "wrong"]
    spoken = [float(text.truth == "right") for text in some]
    return np.array([text.signals for text in some]), np.array(spoken)


def report(texts: Sequence[Text]) -> None:
    """Print the weights, and what is left out on held-out sources at several thresholds."""
    weights = fitted(*told(texts))
    print("| " + " | ".join([*WEIGHTS, "start"]) + " |\n" + "|---:" * len(weights) + "|")
    print("| " + " | ".join(f"{weight:.2f}" for weight in weights) + " |\n")
    scores = held_out(texts)
    truth, words = np.array([text.truth for text in texts]), np.array([text.words for text in texts])
    right = np.sort(scores[truth == "right"])
    print("| left out below | right texts lost | wrong texts lost | texts, words where nobody speaks, kept |")
    print("|---:|---:|---:|---:|")
    for threshold in (HOPELESS, 0.0, *(float(right[int(share * len(right))]) for share in _LOST)):
        gone = scores < threshold
        lost = [f"{(gone & (truth == kind)).sum()} of {(truth == kind).sum()}" for kind in ("right", "wrong")]
        sounds = truth == "nobody"
        stay = sounds & ~gone
        kept = f"{stay.sum()} of {sounds.sum()}, {words[stay].sum()} of {words[sounds].sum()}"
        print(f"| {threshold:.2f} | {lost[0]} | {lost[1]} | {kept} |")


# The table.


def read(tables: Iterable[Path]) -> list[Text]:
    """The texts of these tables."""
    texts = []
    for table in tables:
        with table.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                signals = tuple(float(row[name]) for name in WEIGHTS)
                known = (row["model"], float(row["window"]), row["source"], row["truth"], int(row["words"]))
                texts.append(Text(*known, signals))
    return texts


def write(table: Path, texts: Iterable[Text]) -> None:
    """Add these texts to the table."""
    known = [field.name for field in fields(Text)][:-1]
    fresh = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        if fresh:
            rows.writerow([*known, *WEIGHTS])
        for text in texts:
            rows.writerow([*(getattr(text, name) for name in known), *(f"{one:.3f}" for one in text.signals)])


# Texts of recordings.


class Noting(Retries):
    """Notes the windows of tracks before and after their retries."""

    noted: dict[tuple[int, str, float], Witnesses]

    def __init__(self, decoded: DecodedTrack, listener: Listener) -> None:
        self._note(decoded.windows)
        super().__init__(decoded, listener)

    def _finish(self) -> None:
        super()._finish()
        self._note(self._track.windows)

    def _note(self, windows: Iterable[DecodedWindow]) -> None:
        for window in windows:
            known = window.witnesses
            if known is not None and known.result.text:
                self.noted[window.index, known.result.text, known.result.avg_logprob] = known


def note() -> dict[tuple[int, str, float], Witnesses]:
    """Where all texts of windows are noted from now on, with nothing left out."""
    Noting.noted = {}
    track.Retries = Noting
    Witnesses.score = lambda _: math.inf  # type: ignore[method-assign,assignment]
    return Noting.noted


def collected(
    recognizer: Recognizer, window: float | None, recordings: Iterable[tuple[str, Recording]]
) -> Iterator[Text]:
    """The texts of recordings, each with its source."""
    noted = note()
    for source, recording in recordings:
        noted.clear()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recording.wav"
            soundfile.write(path, recording.samples, SAMPLE_RATE)
            item = AudioItem(recording.name, path.name, str(path), language=recording.language)
            transcriber = Transcriber(recognizer, PipelineOptions(window=window))
            for unit in split_item(item, probe(path)):
                transcriber.add(unit, path)
            while transcriber.open_units():
                transcriber.advance(60)
        for known in noted.values():
            signals, text = tuple(known.signals().values()), known.result.text
            yield Text(
                recognizer.info.name,
                recognizer.info.window,
                source,
                _truth(recording, text),
                len(words_of(text)),
                signals,
            )


def _truth(recording: Recording, text: str) -> str:
    if not recording.said:
        return "nobody"
    both = difflib.SequenceMatcher(None, normal_letters(recording.text), normal_letters(text), autojunk=False)
    return "right" if both.ratio() >= ALIKE else "wrong"


def recordings_of(args: argparse.Namespace, languages: Sequence[str]) -> Iterator[tuple[str, Recording]]:
    """The sounds, and the clips in languages that the model knows under each of the conditions."""
    if args.sounds:
        for one in recorded(args.sounds, "all"):
            yield one.kind, Recording(one.name, None, one.samples, ())
    if args.clips:
        clips = [clip for clip in load(args.clips) if clip.language in (languages or ("en",))]
        for condition in args.conditions:
            for clip in clips:
                yield clip.name, altered(single(clip), condition, clips)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", choices=["fit", "collect"])
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--window", type=float)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--conditions", nargs="+", default=["clean"])
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    if args.work == "fit":
        report(read(args.tables))
        return
    recognizer: Recognizer = load_recognizer(
        args.model, LoadOptions(threads=args.threads, window=args.window)
    )
    languages = recognizer.info.languages
    if args.cache:
        recognizer = Remembered(recognizer, args.cache / "answers.sqlite")
    write(args.tables[0], collected(recognizer, args.window, recordings_of(args, languages)))


if __name__ == "__main__":
    main()
