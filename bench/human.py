"""Word errors, alarms and invented words on human speech, compared with faster-whisper and transformers.

    python -m bench.human --clips MANIFEST --model BUNDLE [--half odd] [--window 10] [--cache FOLDER]
        [--ct2 FOLDER] [--hf FOLDER] [--parts joined,spelling,single,turns,noise,repeated,deletions]
        [--minutes 6] [--seed 11 12] [--pauses 0.25-0.7 0.5-2] [--conditions pink:20 reverb:0.6] [--retries]

MANIFEST is a CSV with `audio`, `text`, `language`. There is one joined recording for each language, seed and
range of pauses (seconds), as it is or under each of the conditions of `bench.speech.conditions`.
Parameters were tuned on `--half even`; published tables use `--half odd`. `--cache` stores the results of
the model and the rows of the other programs on disk, so that only changes are computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from asr_batch.jobs.config.glossary import read_glossary
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import LoadOptions, Recognizer
from asr_batch.pipeline.options import PipelineOptions
from bench.inputs import an_existing_file, an_existing_folder, start
from bench.speech.clips import PAUSES, SEED, Clip, Recording, by_language, joined, load
from bench.speech.conditions import NAMES, altered
from bench.speech.remembered import Remembered
from bench.speech.retried import watched
from bench.speech.runners import Row, Runner, faster_whisper, kept, ours, transformers
from bench.speech.tables import (
    deletions_table,
    joined_table,
    noise_table,
    repeated_table,
    single_table,
    spelling_table,
    turns_table,
)


def joined_as(args: argparse.Namespace, clips: Sequence[Clip]) -> list[Recording]:
    """The clips of each language joined with each of `--pauses` and `--seed`."""
    return [
        joined(some, args.minutes, seed, pauses)
        for some, pauses, seed in product(by_language(clips).values(), args.pauses, args.seed)
    ]


def opened(args: argparse.Namespace) -> Recognizer:
    """The model, with its results remembered if wanted."""
    recognizer = load_recognizer(args.model, LoadOptions(threads=args.threads, window=args.window))
    return Remembered(recognizer, args.cache / "answers.sqlite") if args.cache else recognizer


def runners(args: argparse.Namespace) -> Iterator[tuple[str, Runner]]:
    """asr-batch first, then the requested others."""
    options = PipelineOptions(
        window=args.window,
        word_timestamps=args.words,
        repair_budget=args.repair_budget,
        prompt=args.prompt,
        glossary=read_glossary(args.glossary) if args.glossary else (),
    )
    run = ours(opened(args), options)
    if args.retries:
        yield from watched(run, args.verbose)
        return
    yield "asr-batch", lambda recording: run(recording)[0]
    if args.ct2:
        for batched in (False, True):
            name = "batched" if batched else "sequential"
            yield f"faster-whisper {name}", kept(_Late(args, batched), args.cache, args.ct2.name, batched)
    if args.hf:
        yield "transformers", kept(transformers(args.hf), args.cache, args.hf.name)


class _Late:
    """faster-whisper, loaded on first use."""

    def __init__(self, args: argparse.Namespace, batched: bool) -> None:
        self._args, self._batched, self._run = args, batched, None

    def __call__(self, recording: Recording) -> Row:
        if self._run is None:
            self._run = faster_whisper(self._args.ct2, self._batched, self._args.threads)
        return self._run(recording)


def seconds_range(text: str) -> tuple[float, float]:
    """The least and the most seconds of "0.25-0.7"."""
    try:
        least, most = map(float, text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds such as 0.25-0.7") from None
    return least, most


PARTS = ("joined", "spelling", "single", "turns", "noise", "repeated", "deletions")


def known_parts(text: str) -> list[str]:
    """Names of parts, separated by commas."""
    given = text.split(",")
    if unknown := [part for part in given if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: expected some of {', '.join(PARTS)}")
    return given


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=an_existing_file, required=True)
    parser.add_argument("--model", type=an_existing_folder, required=True)
    parser.add_argument("--half", choices=["even", "odd", "all"], default="odd")
    parser.add_argument("--languages", default="")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, nargs="+", default=[SEED], help="of the joined recordings")
    parser.add_argument("--pauses", type=seconds_range, nargs="+", default=[PAUSES], help="between clips")
    parser.add_argument(
        "--turns",
        type=seconds_range,
        nargs="+",
        default=[(2.0, 6.0), (8.0, 20.0), (20.0, 60.0)],
        help="seconds in one language; 0-0: one clip",
    )
    parser.add_argument(
        "--conditions", nargs="+", default=["clean"], help=f"of the joined recordings: {', '.join(NAMES)}"
    )
    parser.add_argument("--window", type=float)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repair-budget", type=float, default=0.1)
    parser.add_argument("--words", action="store_true", help="word times too")
    parser.add_argument("--prompt", help="of every window of asr-batch")
    parser.add_argument("--glossary", type=an_existing_file, help="one term per line, for asr-batch")
    parser.add_argument("--parts", type=known_parts, default="joined,single,turns,noise,repeated")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--ct2", type=an_existing_folder, help="the same weights for CTranslate2")
    parser.add_argument("--hf", type=an_existing_folder, help="the same weights for transformers")
    parser.add_argument("--retries", action="store_true", help="what each retry strategy mends and spoils")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    clips = load(args.clips, args.half, args.languages)
    parts = args.parts
    recordings = joined_as(args, clips)
    if "deletions" in parts:
        options = PipelineOptions(window=args.window, repair_budget=args.repair_budget)
        deletions_table(opened(args), options, recordings)
        parts.remove("deletions")
    for name, run in runners(args) if parts else ():
        if "joined" in parts:
            for condition in args.conditions:
                some = [altered(one, condition, clips) for one in recordings]
                joined_table(name, condition, run, some, args.verbose)
        if "spelling" in parts:
            spelling_table(name, run, recordings)
        if "single" in parts:
            single_table(name, run, clips, args.verbose)
        if "turns" in parts:
            turns_table(name, run, clips, args.minutes, args.turns)
        if "noise" in parts:
            noise_table(name, run, clips[::8])
        if "repeated" in parts:
            repeated_table(name, run, clips[::24])


if __name__ == "__main__":
    start(main)
