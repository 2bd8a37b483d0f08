"""Word errors on long recordings: our windows compared with windows cut at the true boundaries.

    python -m bench.long_audio --clips clips/manifest.csv --model models/bundled/nano.en --minutes 30

Joins clips (CSV with `audio` and `text`) in random order with natural pauses (0.3 to 1.5 s), with pauses
of at most 80 ms, and without pauses; runs both planners on each recording; and prints word error rates,
clips lost or doubled completely, and the amount decoded. The reference is the model itself: greedy, on
windows up to its own length that begin and end with clips. So the difference is the cost or gain of
cutting, guards, joining and retries. A missing word in a stretch that the row reports as `uncovered` is
lost, but not silently.
"""

from __future__ import annotations

import argparse
import difflib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from asr_batch.manifests.records import AudioItem, Transcript
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, Recognizer, WindowRequest
from asr_batch.pipeline.audio.reader import probe
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.text.words import normal_words
from asr_batch.pipeline.transcribe import Transcriber
from asr_batch.pipeline.windows.spans import split_item
from bench.inputs import an_existing_file, an_existing_folder, start
from bench.speech.clips import load

RATE = 16_000
PAUSES = {"natural": (0.3, 1.5), "dense": (0.0, 0.08), "none": (0.0, 0.0)}


@dataclass(frozen=True)
class Said:
    """A clip in the recording."""

    start: float
    end: float
    text: str


def recording(
    clips: Sequence[tuple[str, np.ndarray]], minutes: float, pauses: tuple[float, float], seed: int
):
    rng = np.random.default_rng(seed)
    parts, said, at = [], [], 0
    while at < minutes * 60 * RATE:
        for index in rng.permutation(len(clips)):
            text, clip = clips[index]
            said.append(Said(at / RATE, (at + len(clip)) / RATE, text))
            pause = np.zeros(round(rng.uniform(*pauses) * RATE), np.float32)
            parts += [clip, pause]
            at += len(clip) + len(pause)
            if at >= minutes * 60 * RATE:
                break
    return np.concatenate(parts), said


def sparse(clips: Sequence[tuple[str, np.ndarray]], every: float, offset: float, seed: int):
    """Sixty clips at fixed intervals over faint noise, drawn at random."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1e-4, round(60 * every * RATE)).astype(np.float32)
    said = []
    for place in range(59):
        text, clip = clips[rng.integers(len(clips))]
        at = round((place * every + offset) * RATE)
        samples[at : at + len(clip)] += clip
        said.append(Said(at / RATE, (at + len(clip)) / RATE, text))
    return samples, said


def sweep(recognizer: Recognizer, clips: Sequence[tuple[str, np.ndarray]], every: float) -> None:
    """Isolated clips at positions swept by 0.1 s: each should occur once."""
    for tenth in range(10):
        samples, said = sparse(clips, every, 0.1 * tenth, tenth)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sparse.wav"
            soundfile.write(path, samples, RATE)
            row, _, _ = transcribe(recognizer, path, PipelineOptions())
        reference = " ".join(clip.text for clip in said)
        heard, given = len(normal_words(row.text)), len(normal_words(reference))
        wrong, gone = errors(reference, row.text), losses(said, row.text, row.uncovered)
        words = f"{heard} words for {given}"
        print(
            f"offset {0.1 * tenth:.1f} s: WER {wrong:5.2f} %, {words}; {gone}; status {row.status}",
            flush=True,
        )


def true_windows(said: Sequence[Said], longest: float) -> list[tuple[float, float, str]]:
    groups: list[list[Said]] = []
    for clip in said:
        if groups and clip.end - groups[-1][0].start <= longest:
            groups[-1].append(clip)
        else:
            groups.append([clip])
    return [(g[0].start, g[-1].end, " ".join(clip.text for clip in g)) for g in groups]


def decode_true(
    recognizer: Recognizer, samples: np.ndarray, windows: Sequence[tuple[float, float, str]]
) -> list[str]:
    texts = [""] * len(windows)
    waiting = list(enumerate(windows))[::-1]
    while waiting or recognizer.pending():
        while waiting and recognizer.room():
            index, (start, end, _) = waiting.pop()
            piece = samples[round(start * RATE) : round(end * RATE)]
            recognizer.submit(WindowRequest(index, piece, DecodeOptions()))
        for result in recognizer.poll():
            texts[result.key] = result.text
    return texts


def transcribe(
    recognizer: Recognizer, path: Path, options: PipelineOptions
) -> tuple[Transcript, float, float]:
    item = AudioItem("long", path.name, str(path))
    transcriber = Transcriber(recognizer, options)
    began = time.monotonic()
    for unit in split_item(item, probe(path)):
        transcriber.add(unit, path)
    spans = []
    while transcriber.open_units():
        spans += transcriber.advance(10)
    decoded = sum(span.decoded_seconds for span in spans)
    return assemble(item, spans), time.monotonic() - began, decoded


def errors(reference: str, hypothesis: str) -> float:
    import jiwer

    return 100 * float(jiwer.wer(" ".join(normal_words(reference)), " ".join(normal_words(hypothesis))))


@dataclass(frozen=True)
class Losses:
    """Completely lost clips, how many of them the row reports, clips that occur twice in a row, and the
    share (%) of words lost without a report.
    """

    lost: int
    named: int
    doubled: int
    silent: float

    def __str__(self) -> str:
        return (
            f"{self.lost} clips lost ({self.named} named), {self.doubled} doubled, "
            f"{self.silent:.2f} % of words lost silently"
        )


def losses(said: Sequence[Said], hypothesis: str, uncovered: Sequence[tuple[float, float]] = ()) -> Losses:
    """The losses in `hypothesis`; a clip's words are assumed to be spread evenly over its time."""
    heard = normal_words(hypothesis)
    words = [(word, index) for index, clip in enumerate(said) for word in normal_words(clip.text)]
    covered = [not _within(time, uncovered) for clip in said for time in _times(clip)]
    matcher = difflib.SequenceMatcher(None, [word for word, _ in words], heard, autojunk=False)
    matched, missed = [0] * len(said), 0.0
    doubled = 0
    for op, a, b, c, d in matcher.get_opcodes():
        if op == "equal":
            for _, index in words[a:b]:
                matched[index] += 1
        elif b - a > d - c:
            missed += (b - a - (d - c)) * float(np.mean(covered[a:b]))
        if op != "equal" and d - c >= 4:
            near = {index for _, index in words[max(0, a - 1) : b + 1]}
            doubled += any(_starts_with(heard[c:d], normal_words(said[index].text)) for index in near)
    lost = [clip for clip, count in zip(said, matched, strict=True) if count == 0]
    named = sum(_within((clip.start + clip.end) / 2, uncovered) for clip in lost)
    return Losses(len(lost), named, doubled, 100 * missed / len(words))


def _times(clip: Said) -> list[float]:
    count = len(normal_words(clip.text))
    return [clip.start + (i + 0.5) / count * (clip.end - clip.start) for i in range(count)]


def _within(time: float, stretches: Sequence[tuple[float, float]]) -> bool:
    return any(start - 0.3 <= time <= end + 0.3 for start, end in stretches)


def _starts_with(words: Sequence[str], clip: Sequence[str]) -> bool:
    return list(words[: len(clip)]) == list(clip)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=an_existing_file, required=True)
    parser.add_argument("--model", type=an_existing_folder, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--every", type=float, help="instead: clips at fixed intervals of this many seconds, swept by 0.1 s"
    )
    parser.add_argument("--only", choices=[*PAUSES], default=None)
    args = parser.parse_args()
    clips = [(clip.text, clip.samples) for clip in load(args.clips)]
    recognizer = load_recognizer(args.model)
    longest = recognizer.info.window
    if args.every:
        sweep(recognizer, clips, args.every)
        return
    for name, pauses in PAUSES.items():
        if args.only not in (None, name):
            continue
        samples, said = recording(clips, args.minutes, pauses, args.seed)
        reference = " ".join(clip.text for clip in said)
        texts = decode_true(recognizer, samples, true_windows(said, longest))
        base = errors(reference, " ".join(texts))
        print(
            f"{name}: {len(samples) / RATE / 60:.1f} min, {len(said)} clips, {len(reference.split())} words"
        )
        print(
            f"  true borders   WER {base:5.2f} %  {losses(said, ' '.join(texts))}",
            flush=True,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "long.wav"
            soundfile.write(path, samples, RATE)
            for planner in ("silence", "stride"):
                row, wall, decoded = transcribe(recognizer, path, PipelineOptions(planner=planner))
                cuts = [window.cut for window in row.windows]
                print(
                    f"  {planner:14s} WER {errors(reference, row.text):5.2f} %  "
                    f"{losses(said, row.text, row.uncovered)}; status {row.status}, "
                    f"coverage {row.coverage:.3f}, "
                    f"cuts { ({cut: cuts.count(cut) for cut in sorted(set(cuts))}) }, "
                    f"decoded {decoded / row.duration:.2f} x, {wall:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    start(main)
