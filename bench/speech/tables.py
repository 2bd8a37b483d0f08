"""The tables of `bench.human`: one function for each part, which prints its rows as they are measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Recognizer
from asr_batch.pipeline.options import PipelineOptions
from bench.speech.clips import SEED, Clip, Recording, Said, by_language, in_turns, repeated, single, varied
from bench.speech.deletions import deletions
from bench.speech.measures import Alarms, Edits, WordTimes, edge_errors, in_languages, pooled
from bench.speech.noises import SOUNDS, sound
from bench.speech.runners import Row, Runner
from bench.speech.spelling import spelled

_LONGEST = 240
"""Seconds of a repeated clip that are enough."""


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
    states, languages = ({getattr(row, key) for _, row in pairs} for key in ("status", "language"))
    return (
        f"| {title} | {name} | {100 * normal.wer:.2f} | {normal.kinds} | {100 * written.wer:.2f} "
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
        print(
            f"| single {code} | {name} | {100 * normal.wer:.2f} | {normal.kinds} "
            f"| {100 * written.wer:.2f} | language {found} of {len(pairs)} | |",
            flush=True,
        )
    print(f"| single | {name} | complete {alarms.complete}, of these partial {alarms.false} |", flush=True)
    if verbose:
        print(*alarms.examples, sep="\n")


def spelling_table(name: str, run: Runner, recordings: Sequence[Recording]) -> None:
    """The errors of the Spanish recordings, with less and less of the spelling."""
    some = [recording for recording in recordings if recording.language == "es"]
    for reading, found in spelled([(recording, run(recording)) for recording in some]).items():
        print(f"| es, {reading} | {name} | {100 * found.wer:.2f} | {found.kinds} |", flush=True)


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
        print(f"| sounds {label} speech | {name} | {total.words} words | {total.kinds} |", flush=True)


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
        print(
            f"| {times} times, {kind.__name__}, pauses {pause} s | {name} | {total.words} words "
            f"| {total.kinds} |",
            flush=True,
        )


def _written(recording: Recording, text: str) -> tuple[Said, ...]:
    return tuple(replace(said, text=text) for said in recording.said)


def deletions_table(
    recognizer: Recognizer, options: PipelineOptions, recordings: Sequence[Recording]
) -> None:
    """Phrases deleted from the decoder's texts: mended, named, overlooked."""
    for length, found in deletions(recognizer, options, recordings):
        overlooked = found.phrases - found.mended - found.named
        print(
            f"| {length} words | {found.phrases} of {found.seconds / max(1, found.phrases):.2f} s "
            f"| mended {found.mended} | named {found.named} | overlooked {overlooked} "
            f"| elsewhere {found.elsewhere:.1f} s | other windows changed {found.changed} |",
            flush=True,
        )
