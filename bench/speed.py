"""Compares asr-batch with other programs on human speech: speed and word error rate in one table.

    make bench BENCH="--audio clips/manifest.csv"

`--audio` names a manifest (CSV with `audio`, `text`, `language`) of clips for three kinds of work: *long*,
one recording of `--minutes` per language, with clips joined in random order with pauses of 0.25 to 0.7 s,
repeated if there are too few; *clips*, every clip as a file; *one*, a single clip, which is mostly
start-up. Every tool runs as a whole process from start to exit, on the same files, weights and number of
threads. Tools take turns after a warm-up run on the single clip, and figures are medians over the rounds.
Processor seconds cover all threads and child processes; on a busy machine they are more meaningful than
wall time. Word errors are pooled over all files after Whisper's normaliser.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
from safetensors.numpy import save_file

from asr_batch.jobs.quality import Errors, compare
from asr_batch.models.recognizer import SAMPLE_RATE
from asr_batch.models.whisper.compile.bundle import compile_bundle
from asr_batch.models.whisper.compile.weights import read_source
from asr_batch.models.whisper.config import WhisperConfig
from bench.ggml import write_ggml
from bench.inputs import an_existing_file, an_existing_folder, start
from bench.speech.clips import Clip, Recording, joined, load, single

PEERS = Path(__file__).with_name("peers.py")
CHECKED = 2
"""Clips that transformers transcribes: it is slow, and only checks that all run the same weights."""


@dataclass(frozen=True)
class Sound:
    """A file of a workload, its text, and its length in seconds."""

    id: str
    path: Path
    language: str
    text: str
    seconds: float


@dataclass(frozen=True)
class Weights:
    """One model in the layouts of all tools."""

    name: str
    ct2: Path
    bundle: Path
    ggml: Path
    transformers: Path


@dataclass
class Measured:
    """Wall and processor seconds of a tool on a workload round by round, and the texts of its last round."""

    walls: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Modules of the checkout are compiled once, as an installation's are."""

Tool = Callable[[Weights, Sequence[Sound], Path], dict[str, str]]


def ours(*options: str) -> Tool:
    """`asr-batch run` as started by a user."""

    def run(weights: Weights, sounds: Sequence[Sound], work: Path) -> dict[str, str]:
        manifest, out = work / "manifest.csv", work / "out"
        with manifest.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "audio", "language"])
            writer.writerows([sound.id, sound.path, sound.language] for sound in sounds)
        command = [sys.executable, "-m", "asr_batch.jobs", "run", str(manifest), "--out", str(out)]
        command += ["--model", str(weights.bundle), "--progress", "none", *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT)
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr.strip()[-500:])
        rows = pq.read_table(out / "transcripts", columns=["id", "text"]).to_pylist()
        return {row["id"]: row["text"] or "" for row in rows}

    return run


def peer(python: Path, tool: str, threads: int) -> Tool:
    """A tool of bench/peers.py in its own environment."""

    def run(weights: Weights, sounds: Sequence[Sound], work: Path) -> dict[str, str]:
        model = {"whisper.cpp": weights.ggml, "transformers": weights.transformers}.get(tool, weights.ct2)
        listed = [{"id": one.id, "path": str(one.path), "language": one.language} for one in sounds]
        (work / "list.json").write_text(json.dumps(listed))
        command = [python, "-P", PEERS, tool, "--model", model, "--list", work / "list.json"]
        command += ["--to", work / "texts.json", "--threads", str(threads)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-500:])
        texts: dict[str, str] = json.loads((work / "texts.json").read_text())["texts"]
        return texts

    return run


def layouts(source: Path, work: Path) -> Weights:
    """Weights from a CTranslate2 folder, in the layouts of all tools."""
    name = source.name
    found = Weights(
        name, source, work / f"{name}.bundle", work / f"{name}.ggml", work / f"{name}.transformers"
    )
    compile_bundle(source, found.bundle)
    write_ggml(source, found.ggml)
    write_transformers(source, found.transformers)
    return found


def write_transformers(source: Path, folder: Path) -> None:
    """The weights at `source` as transformers reads them, with all ids that it does not look up itself."""
    folder.mkdir()
    weights = read_source(source)
    for file, content in weights.files.items():
        (folder / file).write_bytes(content)
    config = WhisperConfig.from_folder(folder)
    ids = {
        "decoder_start_token_id": config.sot,
        "bos_token_id": config.eot,
        "eos_token_id": config.eot,
        "pad_token_id": config.eot,
    }
    generation = {
        **ids,
        "no_timestamps_token_id": config.no_timestamps,
        "prev_sot_token_id": config.previous,
        "suppress_tokens": list(config.suppress),
        "begin_suppress_tokens": list(config.begin_suppress),
        "is_multilingual": config.multilingual,
        "max_length": config.max_target_positions,
        "max_initial_timestamp_index": config.max_initial_timestamp,
        "forced_decoder_ids": None if config.multilingual else [[1, config.no_timestamps]],
    }
    if config.multilingual:
        generation["lang_to_id"] = {f"<|{code}|>": number for code, number in config.languages.items()}
        generation["task_to_id"] = {"transcribe": config.transcribe, "translate": config.translate}
    extractor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": config.n_mels}
    sizes = json.loads((folder / "config.json").read_text())
    for name, content in (
        ("config.json", sizes | ids | {"model_type": "whisper"}),
        ("generation_config.json", generation),
        ("preprocessor_config.json", extractor),
        ("tokenizer_config.json", {"tokenizer_class": "WhisperTokenizer"}),
    ):
        (folder / name).write_text(json.dumps(content))
    tensors = {f"model.{key}": np.asarray(value, np.float32) for key, value in weights.tensors.items()}
    save_file(tensors, folder / "model.safetensors")


def written(one: Recording, path: Path) -> Sound:
    """A recording as 16 kHz WAV, which every tool reads."""
    soundfile.write(path, one.samples, SAMPLE_RATE)
    return Sound(path.stem, path, one.language or "en", one.text, one.seconds)


def workloads(clips: Sequence[Clip], minutes: float, work: Path) -> dict[str, list[Sound]]:
    """The three kinds of work."""
    languages = list(dict.fromkeys(clip.language for clip in clips))
    by_language = {code: [clip for clip in clips if clip.language == code] for code in languages}
    long = [
        written(joined(some, minutes, seed=1), work / f"long-{code}.wav")
        for code, some in by_language.items()
    ]
    files = [written(single(clip), work / f"clip-{number:05d}.wav") for number, clip in enumerate(clips)]
    return {"long": long, "clips": files, "one": [min(files, key=lambda one: abs(one.seconds - 5.0))]}


def take_turns(
    tools: Mapping[str, Tool], weights: Weights, sounds: Sequence[Sound], rounds: int
) -> dict[str, Measured]:
    """Run every tool in each round; a tool that fails prints the reason and is left out."""
    found = {name: Measured() for name in tools}
    for _ in range(rounds):
        for name in list(found):
            with tempfile.TemporaryDirectory(prefix="bench-") as work:
                begun, spent = time.perf_counter(), processor_seconds()
                try:
                    found[name].texts = tools[name](weights, sounds, Path(work))
                except RuntimeError as error:
                    print(f"  {name}: left out: {error}", file=sys.stderr)
                    del found[name]
                    continue
                found[name].walls.append(time.perf_counter() - begun)
                found[name].processor.append(processor_seconds() - spent)
    return found


def processor_seconds() -> float:
    """Of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def errors(sounds: Iterable[Sound], texts: Mapping[str, str]) -> Errors:
    """Word errors pooled over all files."""
    return sum((compare(one.text, texts.get(one.id, ""), one.language) for one in sounds), Errors())


def table(title: str, sounds: Sequence[Sound], found: Mapping[str, Measured]) -> None:
    """One line per tool: seconds, error rate, and the ratio to the first tool, by round."""
    audio, own = sum(one.seconds for one in sounds), next(iter(found.values()))
    print(f"\n{title}: {len(sounds)} files, {audio / 60:.1f} min")
    print("| tool | s | WER % | x real time | asr-batch is faster | processor s | asr-batch takes less |")
    print("|---|---|---|---|---|---|---|")
    for name, one in found.items():
        wall, spent = statistics.median(one.walls), statistics.median(one.processor)
        wrong = 100 * errors(sounds, one.texts).wer
        faster, less = ratio(one.walls, own.walls), ratio(one.processor, own.processor)
        cells = (f"{wall:.1f}", f"{wrong:.2f}", f"{audio / wall:.0f}", f"{faster:.1f} x", f"{spent:.1f}")
        print(f"| {name} | {' | '.join(cells)} | {less:.1f} x |", flush=True)


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Median over the rounds."""
    return statistics.median(one / other for one, other in zip(theirs, ours, strict=True))


def processor() -> str:
    """The processor and the instructions that matter for int8 ratios."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    known = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set((known.get("flags") or known.get("Features") or "").split())
    wanted = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2", "asimddp", "i8mm")
    can = " ".join(one for one in wanted if one in flags)
    return f"{known.get('model name', os.uname().machine)}, {os.cpu_count()} cores, {can}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--audio", type=an_existing_file, required=True, help="CSV manifest of 16 kHz clips with text"
    )
    parser.add_argument(
        "--model", type=an_existing_folder, action="append", required=True, help="CTranslate2 folder"
    )
    parser.add_argument(
        "--peers", type=Path, default=Path(".venv/bench/bin/python"), help="Python that has them"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20, help="length of each long recording")
    parser.add_argument("--clips", type=int, help="this many clips at most")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--only", action="append", choices=["long", "clips", "one"], help="this work alone")
    args = parser.parse_args()
    print(processor())
    threads = ["--threads", str(args.threads)]
    tools = {
        "asr-batch": ours(*threads),
        "asr-batch, 10 s windows": ours(*threads, "--window", "10"),
        "asr-batch --no-ray": ours(*threads, "--no-ray"),
        "faster-whisper sequential": peer(args.peers, "sequential", args.threads),
        "faster-whisper batched": peer(args.peers, "batched", args.threads),
        "whisper.cpp": peer(args.peers, "whisper.cpp", args.threads),
    }
    check = {name: tools[name] for name in ("asr-batch", "faster-whisper sequential", "whisper.cpp")}
    check["transformers"] = peer(args.peers, "transformers", args.threads)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        clips = load(args.audio)
        clips = clips[:: max(1, len(clips) // args.clips)][: args.clips] if args.clips else clips
        for source in args.model:
            weights = layouts(source, work)
            heard = clips if not source.name.endswith(".en") else [c for c in clips if c.language == "en"]
            kinds = workloads(heard, args.minutes, work)
            take_turns(tools, weights, kinds["one"], 1)
            for name, sounds in kinds.items():
                if not args.only or name in args.only:
                    found = take_turns(tools, weights, sounds, args.rounds)
                    table(f"{weights.name}, {name}", sounds, found)
            short = (sound for sound in kinds["clips"] if sound.seconds < 30)
            few = sorted(short, key=lambda sound: -sound.seconds)[:CHECKED]
            table(f"{weights.name}, check", few, take_turns(check, weights, few, 1))


if __name__ == "__main__":
    start(main)
