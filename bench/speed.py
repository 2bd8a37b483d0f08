"""asr-batch against its peers, side by side: `make bench`, or

    python -m bench.speed [--seconds 480] [--rounds 3] [--threads 2] [--source FOLDER --audio FOLDER]

Two tables. *Forced lengths*: Whisper-tiny's size with random weights, 3.2 tokens a second of audio whatever
is said. *Natural speech* (with `--source`, the Hugging Face folder of nano.en or another Whisper, and
`--audio`, a folder of sound files): everyone's own segmentation and end of text. All runners read the same
files, take turns, and get the same number of threads, each in a process of its own; figures are medians
over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile

from asr_batch.models.onnx.options import Cores, graph_options
from asr_batch.models.onnx.sessions import open_session
from asr_batch.models.whisper.compile.bundle import compile_bundle
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.encoder import CpuEncoder
from asr_batch.models.whisper.engine.slots import Reader
from asr_batch.models.whisper.engine.vocabulary import VocabularyGraphs
from asr_batch.models.whisper.recognizer import SLOTS
from bench import peers
from bench.machine import encoder_operations, peaks, timed, token_operations
from bench.peers import Peer
from bench.random_model import make


def noise_file(path: Path, seconds: int) -> Path:
    """Noise and tones that rise and fall like speech."""
    rng = np.random.default_rng(0)
    t = np.arange(seconds * 16000) / 16000
    tone = sum(np.sin(2 * np.pi * f * t * (1 + 0.01 * np.sin(5 * t))) for f in rng.uniform(100, 3000, 5))
    loud = 0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * t)
    soundfile.write(path, 0.03 * loud * (tone + rng.standard_normal(len(t))), 16000)
    return path


Times = dict[str, list[tuple[float, float]]]
Maker = Callable[[], Peer]


class Runner:
    """A peer in a process of its own: what one does to memory and threads is then done to itself alone."""

    def __init__(self, make: Maker, warm: Path) -> None:
        context = get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, warm, there), daemon=True)
        self._process.start()
        there.close()
        self.name: str = self._pipe.recv()

    def run(self, files: Sequence[Path]) -> tuple[float, float]:
        """Wall and processor seconds of its process."""
        self._pipe.send(list(files))
        times: tuple[float, float] = self._pipe.recv()
        return times

    def close(self) -> None:
        self._pipe.send([])
        self._process.join()


def _serve(make: Maker, warm: Path, pipe: Connection) -> None:
    """Make the peer and warm it up, say its name, then run the files that are asked for until there are none.

    Twice, because asr-batch arranges its memory anew (huge pages) after some windows.
    """
    try:
        peer = make()
        for _ in range(2):
            peer.run([warm])
    except Exception as error:
        print(f"  left out: {type(error).__name__}: {error}", file=sys.stderr)
        if os.environ.get("BENCH_DEBUG"):
            traceback.print_exc()
        raise SystemExit(1) from error
    pipe.send(peer.name)
    while files := pipe.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        peer.run(files)
        pipe.send((time.perf_counter() - wall, time.process_time() - cpu))


def take_turns(makers: Sequence[Maker], warm: Path, files: Sequence[Path], rounds: int) -> Times:
    """Wall and processor seconds of each peer in each round; one that cannot be made here says why."""
    runners = []
    for maker in makers:
        with suppress(EOFError):
            runners.append(Runner(maker, warm))
    times: Times = {runner.name: [] for runner in runners}
    for _ in range(rounds):
        for runner in runners:
            times[runner.name].append(runner.run(files))
    for runner in runners:
        runner.close()
    return times


def median_ratio(theirs: Sequence[float], own: Sequence[float]) -> float:
    """Median of the ratios round by round: what disturbs the machine disturbs both."""
    return statistics.median(a / b for a, b in zip(theirs, own, strict=True))


def table(title: str, times: Times, audio: float) -> None:
    """Wall and processor time of every runner; the first one is ours."""
    print(f"\n{title}: {audio:.0f} s of audio")
    print(
        f"  {'runner':32} {'ms / 10 s':>10} {'CPU ms':>8} {'x real time':>12} {'ours: wall':>11} {'CPU':>7}"
    )
    own = list(zip(*next(iter(times.values())), strict=True))
    for name, rounds in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        faster = [median_ratio(a, b) for a, b in zip(zip(*rounds, strict=True), own, strict=True)]
        line = f"  {name:32} {wall / audio * 1e4:10.1f} {cpu / audio * 1e4:8.1f} {audio / wall:12.0f}"
        print(line + f" {faster[0]:9.2f} x {faster[1]:5.2f} x")


def forced(work: Path, seconds: int, rounds: int, threads: int, limits: dict[str, float]) -> None:
    source = make(work / "tiny")
    compile_bundle(source, work / "bundle")
    converted = peers.convert_for_faster_whisper(source, work / "ct2")
    layout = peers.write_seed_layout(source, work / "seed")
    config = WhisperConfig.from_folder(source)
    prompt = [config.sot, config.languages["en"], config.transcribe or 0, config.no_timestamps or 0]
    file = noise_file(work / "noise.flac", seconds)
    makers = (
        partial(peers.ours, work / "bundle", threads, True, "en"),
        *(partial(peers.faster_whisper, converted, threads, True, "en", batch) for batch in (8, 16)),
        partial(peers.seed, layout, source, threads, True, prompt),
    )
    table("Forced lengths, Whisper-tiny's size", take_turns(makers, file, [file], rounds), seconds)
    shares(work / "bundle", config, threads, limits)
    start_up(work / "bundle", file)


def natural(work: Path, source: Path, audio: Path, rounds: int, threads: int) -> None:
    compile_bundle(source, work / "natural")
    converted = peers.convert_for_faster_whisper(source, work / "natural-ct2")
    layout = peers.write_seed_layout(source, work / "natural-seed")
    config = WhisperConfig.from_folder(source)
    files = sorted(path for path in audio.iterdir() if path.suffix in (".flac", ".wav", ".mp3", ".ogg"))
    seconds = sum(soundfile.info(path).duration for path in files)
    prompt = [config.sot, config.no_timestamps or 0]
    makers = (
        partial(peers.ours, work / "natural", threads, False, None),
        *(partial(peers.faster_whisper, converted, threads, False, "en", batch) for batch in (8, 16)),
        partial(peers.seed, layout, source, threads, False, prompt),
    )
    table(f"Natural speech, {source.name}", take_turns(makers, files[0], files, rounds), seconds)


def shares(bundle: Path, config: WhisperConfig, threads: int, limits: dict[str, float]) -> None:
    """How much of the machine's measured limits the encoder and a full decoder step reach, each alone."""
    d, positions = config.d_model, 500
    encoder = CpuEncoder(bundle, Cores(threads), "auto")
    sound = np.random.default_rng(0).standard_normal((2 * threads, encoder.n_mels, encoder.frames))
    log_mel = sound.astype(np.float32)
    seconds = timed(lambda: encoder.start(log_mel).result())
    reached = len(log_mel) * encoder_operations(d, config.encoder_layers, positions, config.n_mels) / seconds
    print(
        f"\nencoder: {reached / 1e9:.0f} GOP/s, {reached / 1e7 / limits['int8_gops']:.0f} % of the int8 peak"
    )
    encoder.close()
    session = open_session(bundle / "decoder.onnx", options=graph_options(1)).session
    reader, at = Reader(session, VocabularyGraphs(bundle, "auto"), SLOTS, 64), [16] * SLOTS
    seconds = timed(lambda: reader.step([100] * SLOTS, at))
    step = SLOTS * token_operations(d, config.decoder_layers, positions, config.vocab_size) / seconds
    weights = (bundle / "decoder.weights").stat().st_size + (bundle / "embedding.weights").stat().st_size
    read = (weights + sum(array.nbytes for array in reader.buffers.cross.values())) / seconds / 1e9
    print(
        f"decoder step of {SLOTS} windows on one thread: {step / 1e9:.0f} GOP/s, "
        f"{step / 1e7 / limits['int8_gops']:.0f} % of the int8 peak of {threads}; reads {read:.1f} GB/s, "
        f"{100 * read / limits['read_gbs']:.0f} % of the memory's"
    )


_START_UP = """
import sys, time
from pathlib import Path
from bench import peers
start = time.perf_counter()
runner = peers.ours(Path(sys.argv[1]), 2, True, "en")
loaded = time.perf_counter() - start
runner.run([Path(sys.argv[2])])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(f"  load {loaded:.2f} s, peak resident {int(peak) / 1024:.0f} MB")
"""


def start_up(bundle: Path, file: Path) -> None:
    """Load time and peak memory of a worker of its own."""
    print("\nA process of its own (Python, pipeline, model, one file):", flush=True)
    subprocess.run([sys.executable, "-c", _START_UP, str(bundle), str(file)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=480, help="audio of the forced table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--source", type=Path, help="Hugging Face folder for the natural table")
    parser.add_argument("--audio", type=Path, help="folder of sound files for the natural table")
    args = parser.parse_args()
    limits = peaks(args.threads)
    for name, value in limits.items():
        print(f"{name:12} {value:8.1f}")
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        forced(Path(work), args.seconds, args.rounds, args.threads, limits)
        if args.source and args.audio:
            natural(Path(work), args.source, args.audio, args.rounds, args.threads)


if __name__ == "__main__":
    main()
