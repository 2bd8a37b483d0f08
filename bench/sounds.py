"""Words written for sounds without speech, by kind, beside faster-whisper with its VAD.

    python -m bench.sounds --model BUNDLE [--sounds MANIFEST] [--half odd] [--window 10] [--ct2 FOLDER]
        [--prompt TEXT] [--language es] [--peak -40] [--cache FOLDER] [--texts]
        [--clips MANIFEST [--pause 0.4] [--below 10]]

MANIFEST is a CSV with `audio` and, if wanted, `kind`; without one, the synthesised sounds of
`bench.speech.noises` are taken, of four lengths (`--seconds`). `--peak` sets the level (dBFS). With human
`--clips`, each sound stands between two English ones, `--pause` seconds from both, or lies beneath them,
`--below` so many decibels; the words are then compared with those written for the clips alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import SAMPLE_RATE, LoadOptions, Recognizer, Samples
from asr_batch.pipeline.audio.reader import AudioStream
from asr_batch.pipeline.options import PipelineOptions
from bench.inputs import an_existing_file, an_existing_folder, read_manifest, start
from bench.speech.clips import Clip, Recording, Said, load, single
from bench.speech.conditions import under
from bench.speech.measures import Edits, Pooled, pooled
from bench.speech.noises import SOUNDS, sound
from bench.speech.remembered import Remembered
from bench.speech.runners import Runner, faster_whisper, kept, ours

LENGTHS = (4.0, 12.0, 31.0, 95.0)
"""Seconds of the synthesised sounds."""

_CLIPS = 4
_SEED = 3


@dataclass(frozen=True)
class Sound:
    """A recording without speech; `kind` groups it in the table."""

    name: str
    kind: str
    samples: Samples


@dataclass(frozen=True)
class Tally(Pooled):
    """What was written for some sounds; `a + b` pools them."""

    files: int = 0
    seconds: float = 0.0
    words: int = 0
    texts: int = 0


def synthesised(lengths: Sequence[float]) -> Iterator[Sound]:
    """The sounds of `bench.speech.noises`, of these lengths in seconds."""
    for kind, seconds in product(SOUNDS, lengths):
        yield Sound(f"{kind} {seconds:g} s", kind, sound(kind, seconds, _SEED))


def recorded(manifest: Path, half: str) -> Iterator[Sound]:
    """The files of a manifest; `half`: `even`, `odd` rows, or `all`."""
    rows = read_manifest(manifest, "audio")
    chosen = rows if half == "all" else rows[half == "odd" :: 2]
    for row in chosen:
        path = manifest.parent / row["audio"]
        stretch = AudioStream(path, 0.0, None, "mix")
        samples = np.concatenate([*stretch.blocks(), np.zeros(0, np.float32)])
        stretch.close()
        yield Sound(path.stem, row.get("kind") or path.parent.name, samples)


def at_peak(samples: Samples, level: float | None) -> Samples:
    """The samples with their peak at this level (dBFS)."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples if level is None or not peak else samples * np.float32(10 ** (level / 20) / peak)


def runners(args: argparse.Namespace) -> Iterator[tuple[str, Runner]]:
    """asr-batch, then faster-whisper with its VAD."""
    recognizer: Recognizer = load_recognizer(
        args.model, LoadOptions(threads=args.threads, window=args.window)
    )
    if args.cache:
        recognizer = Remembered(recognizer, args.cache / "answers.sqlite")
    options = PipelineOptions(window=args.window, prompt=args.prompt, language=args.language)
    run = ours(recognizer, options)
    yield "asr-batch", lambda recording: run(recording)[0]
    if args.ct2:
        settings = {"vad_filter": True, "initial_prompt": args.prompt, "language": args.language}
        other = faster_whisper(args.ct2, False, args.threads, **settings)
        yield "faster-whisper", kept(other, args.cache, args.ct2.name, settings)


def alone(name: str, run: Runner, sounds: Sequence[Sound], texts: bool) -> None:
    """Words by kind."""
    table: dict[str, Tally] = {}
    for one in sounds:
        row = run(Recording(one.name, None, one.samples, ()))
        found = Tally(1, len(one.samples) / SAMPLE_RATE, len(row.text.split()), bool(row.text))
        table[one.kind] = table.get(one.kind, Tally()) + found
        if texts and row.text:
            print(f"| {one.name} | {name} | {row.status} | {row.text[:150]!r} |", flush=True)
    for kind, tally in (*table.items(), ("all", sum(table.values(), Tally()))):
        if tally.words or kind == "all":
            length = f"{tally.files} files, {tally.seconds / 60:.1f} min"
            print(f"| {kind} | {name} | {length} | {tally.words} words in {tally.texts} |", flush=True)


def beside_speech(
    name: str, run: Runner, sounds: Sequence[Sound], clips: Sequence[Clip], args: argparse.Namespace
) -> None:
    """Words lost and invented in two clips with a sound between or beneath them."""
    total = Edits()
    for place, one in enumerate(sounds):
        pair = [clips[(place + offset) % len(clips)] for offset in (0, 1)]
        recording = _with_sound(run, pair, one, args.pause, args.below)
        row = run(recording)
        found, _ = pooled([(recording, row)])
        total += found
        if args.texts and found.wer:
            print(f"| {one.name} | {name} | {row.status} | {row.text!r} |", flush=True)
    print(f"| {len(sounds)} sounds | {name} | {total.words} words | {total.kinds} |", flush=True)


def _with_sound(
    run: Runner, clips: Sequence[Clip], one: Sound, pause: float, below: float | None
) -> Recording:
    gap = np.zeros(round(pause * SAMPLE_RATE), np.float32)
    between = one.samples if below is None else np.zeros(SAMPLE_RATE // 2, np.float32)
    samples = np.concatenate([clips[0].samples, gap, between, gap, clips[1].samples])
    if below is not None:
        samples = under(samples, np.resize(one.samples, len(samples)), below)
    ends = [len(clips[0].samples), len(samples)]
    starts = [0, len(samples) - len(clips[1].samples)]
    said = tuple(
        Said(start / SAMPLE_RATE, end / SAMPLE_RATE, run(single(clip)).text)
        for clip, start, end in zip(clips, starts, ends, strict=True)
    )
    return Recording(one.name, clips[0].language, samples.astype(np.float32), said)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=an_existing_folder, required=True)
    parser.add_argument("--sounds", type=an_existing_file)
    parser.add_argument("--seconds", type=float, nargs="+", default=LENGTHS, help="of synthesised sounds")
    parser.add_argument("--half", choices=["even", "odd", "all"], default="all")
    parser.add_argument("--window", type=float)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt")
    parser.add_argument("--language")
    parser.add_argument("--peak", type=float)
    parser.add_argument("--clips", type=an_existing_file)
    parser.add_argument("--pause", type=float, default=0.4)
    parser.add_argument("--below", type=float)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--ct2", type=an_existing_folder, help="the same weights for CTranslate2")
    parser.add_argument("--texts", action="store_true", help="print them")
    args = parser.parse_args()
    sounds = [
        Sound(one.name, one.kind, at_peak(one.samples, args.peak))
        for one in (recorded(args.sounds, args.half) if args.sounds else synthesised(args.seconds))
    ]
    for name, run in runners(args):
        if args.clips:
            spoken = (clip for clip in load(args.clips, "odd") if clip.language == "en")
            brief = (clip for clip in spoken if 2 < len(clip.samples) / SAMPLE_RATE < 9)
            beside_speech(name, run, sounds, list(islice(brief, 3, None, 13))[:_CLIPS], args)
        else:
            alone(name, run, sounds, args.texts)


if __name__ == "__main__":
    start(main)
