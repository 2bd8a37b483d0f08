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
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from asr_batch.jobs.config.glossary import read_glossary
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import SAMPLE_RATE, LoadOptions, Recognizer
from asr_batch.pipeline.options import PipelineOptions
from bench.inputs import an_existing_file, an_existing_folder, start
from bench.speech.clips import PAUSES, Clip, Recording, Said, in_turns, joined, load, repeated, single, varied
from bench.speech.conditions import NAMES, altered
from bench.speech.deletions import deletions
from bench.speech.measures import Alarms, Edits, WordTimes, edge_errors, in_languages, pooled
from bench.speech.noises import SOUNDS, sound
from bench.speech.remembered import Remembered
from bench.speech.retried import watched
from bench.speech.runners import Row, Runner, faster_whisper, kept, ours, transformers
from bench.speech.spelling import spelled

SEED = 5
_LONGEST = 240
"""Seconds of a repeated clip that are enough."""


def by_language(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """The clips of each language."""
    return {code: [c for c in clips if c.language == code] for code in sorted({c.language for c in clips})}


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


def joined_table(
    name: str, condition: str, run: Runner, recordings: Sequence[Recording], verbose: bool
) -> None:
    """Errors by recording and by language, and figures of the ledger."""
    alarms, times, edges, decoded, busy = Alarms(), WordTimes(), [], 0.0, 0.0
    pairs: dict[str, list[tuple[Recording, Row]]] = {}
    for recording in recordings:
        began = time.process_time()
        row = run(recording)
        busy += time.process_time() - began
        pairs.setdefault(recording.language or "mixed", []).append((recording, row))
        alarms.add(recording, row)
        times.add(recording, row)
        edges += edge_errors(recording, row)
        decoded += row.decoded
        print(_errors(recording.name, name, [(recording, row)]), flush=True)
    if len(recordings) > len(pairs):
        print(*(_errors(f"all {code}", name, some) for code, some in pairs.items()), sep="\n", flush=True)
    mean = np.mean([[100 * edits.wer for edits in pooled(some)] for some in pairs.values()], axis=0)
    length = sum(recording.seconds for recording in recordings)
    print(
        f"| mean, {condition} | {name} | {mean[0]:.2f} | | {mean[1]:.2f} | decoded {decoded / length:.2f} x, "
        f"{60 * busy / length:.2f} processor seconds per minute "
        f"| flagged {alarms.seconds:.1f} s, right {alarms.right:.1f} s; lost words {alarms.lost}, "
        f"named {alarms.named}; edges {np.median(edges or [np.nan]):.2f} s; words {times.words}, without "
        f"length {times.empty}, astray {times.astray}, off by {times.percentile(50):.2f} s, 90 % by "
        f"{times.percentile(90):.2f} s |",
        flush=True,
    )
    if verbose:
        print(*alarms.examples, sep="\n")


def _errors(title: str, name: str, pairs: Sequence[tuple[Recording, Row]]) -> str:
    """A row of the table: word errors, after normalising and as written, and what the rows say."""
    normal, written = pooled(pairs)
    parts = f"{normal.substitutions} / {normal.deletions} / {normal.insertions}"
    states, languages = ({getattr(row, key) for _, row in pairs} for key in ("status", "language"))
    return (
        f"| {title} | {name} | {100 * normal.wer:.2f} | {parts} | {100 * written.wer:.2f} "
        f"| {' '.join(sorted(states))} | {' '.join(sorted(map(str, languages)))} |"
    )


def single_table(name: str, run: Runner, clips: Sequence[Clip], verbose: bool) -> None:
    """Each clip separately: errors, detected languages, false alarms."""
    alarms = Alarms()
    for code, some in by_language(clips).items():
        pairs = [(single(clip), run(single(clip))) for clip in some]
        normal, written = pooled(pairs)
        found = sum(row.language == code for _, row in pairs)
        for recording, row in pairs:
            alarms.add(recording, row)
        parts = f"{normal.substitutions} / {normal.deletions} / {normal.insertions}"
        print(
            f"| single {code} | {name} | {100 * normal.wer:.2f} | {parts} | {100 * written.wer:.2f} "
            f"| language {found} of {len(pairs)} | |",
            flush=True,
        )
    print(f"| single | {name} | complete {alarms.complete}, of these partial {alarms.false} |", flush=True)
    if verbose:
        print(*alarms.examples, sep="\n")


def spelling_table(name: str, run: Runner, recordings: Sequence[Recording]) -> None:
    """The errors of the Spanish recordings, with less and less of the spelling."""
    some = [recording for recording in recordings if recording.language == "es"]
    for reading, found in spelled([(recording, run(recording)) for recording in some]).items():
        parts = f"{found.substitutions} / {found.deletions} / {found.insertions}"
        print(f"| es, {reading} | {name} | {100 * found.wer:.2f} | {parts} |", flush=True)


def turns_table(
    name: str, run: Runner, clips: Sequence[Clip], minutes: float, turns: Sequence[tuple[float, float]]
) -> None:
    """Recordings that change their language: words written as they were said, segments in their language."""
    for turn in turns:
        recording = in_turns(clips, minutes, SEED, turn)
        row = run(recording)
        normal, _ = pooled([(recording, row)])
        parts = " | ".join(
            f"{code}: {written} of {said} words, {heard / seconds:.0%} of the time"
            for code, (said, written, seconds, heard) in in_languages(recording, row).items()
        )
        print(f"| {recording.name} | {name} | {100 * normal.wer:.2f} | {parts} |", flush=True)


def noise_table(name: str, run: Runner, clips: Sequence[Clip]) -> None:
    """Words written for sounds before and after a clip; then speech that is hard to hear."""
    _around_table(name, run, clips[:2])
    for label, gain, noise in (("-45 dBFS", -25.0, 0.0), ("in noise, 10 dB", 0.0, 10.0)):
        changed = [_altered(clip, gain, noise) for clip in clips]
        pairs = [(single(clip), run(single(clip))) for clip in changed]
        normal, _ = pooled(pairs)
        print(
            f"| {label} | {name} | {100 * normal.wer:.2f} | D {normal.deletions} I {normal.insertions} |",
            flush=True,
        )


def _around_table(name: str, run: Runner, clips: Sequence[Clip]) -> None:
    """A clip with 20 s of a sound before it, or 60 s after it, compared with the clip alone."""
    for label, before, after in (("before", 20.0, 0.0), ("after", 0.0, 60.0)):
        total = Edits()
        for kind, clip in product(SOUNDS, clips):
            noise = [sound(kind, seconds, 4) if seconds else clip.samples[:0] for seconds in (before, after)]
            said = Said(before, before + len(clip.samples) / SAMPLE_RATE, run(single(clip)).text)
            samples = np.concatenate([noise[0], clip.samples, noise[1]])
            recording = Recording(kind, clip.language, samples, (said,))
            row = run(recording)
            found, _ = pooled([(recording, row)])
            total += found
            if found.wer:
                print(f"| {kind} {label} {clip.name} | {name} | {row.status} | {row.text!r} |", flush=True)
        parts = f"{total.substitutions} / {total.deletions} / {total.insertions}"
        print(f"| sounds {label} speech | {name} | {total.words} words | {parts} |", flush=True)


def _altered(clip: Clip, gain: float, noise: float) -> Clip:
    samples = clip.samples * np.float32(10 ** (gain / 20))
    if noise:
        power = float(np.sqrt(np.mean(samples**2))) * 10 ** (-noise / 20)
        samples = samples + np.random.default_rng(1).normal(0, power, len(samples)).astype(np.float32)
    return replace(clip, samples=samples)


def repeated_table(name: str, run: Runner, clips: Sequence[Clip]) -> None:
    """The same clip repeated: words written compared with those written for it once."""
    kinds = ((repeated, 0.5), (repeated, 0.0), (varied, 0.0))
    for times, (kind, pause) in product((2, 5, 20, 80), kinds):
        total = Edits()
        for clip in clips:
            if times * len(clip.samples) > _LONGEST * SAMPLE_RATE:
                continue
            recording, once = kind(clip, times, pause), run(single(clip))
            row = run(recording)
            found, _ = pooled([(replace(recording, said=_written(recording, once.text)), row)])
            total += found
            if found.deletions + found.insertions > found.words / 20:
                print(f"| {recording.name} | {name} | {once.text} | {found} | {row.status} |", flush=True)
        parts = f"{total.substitutions} / {total.deletions} / {total.insertions}"
        print(
            f"| {times} times, {kind.__name__}, pauses {pause} s | {name} | {total.words} words | {parts} |",
            flush=True,
        )


def _written(recording: Recording, text: str) -> tuple[Said, ...]:
    return tuple(replace(said, text=text) for said in recording.said)


def deletions_table(args: argparse.Namespace, recordings: Sequence[Recording]) -> None:
    """Phrases deleted from the decoder's texts: mended, named, overlooked."""
    options = PipelineOptions(window=args.window, repair_budget=args.repair_budget)
    for length, found in deletions(opened(args), options, recordings):
        overlooked = found.phrases - found.mended - found.named
        print(
            f"| {length} words | {found.phrases} of {found.seconds / max(1, found.phrases):.2f} s "
            f"| mended {found.mended} | named {found.named} | overlooked {overlooked} "
            f"| elsewhere {found.elsewhere:.1f} s | other windows changed {found.changed} |",
            flush=True,
        )


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
        deletions_table(args, recordings)
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
