"""Times the kernel sets that this machine can run, those in numpy, and ONNX Runtime's graphs, on one thread.

    python -m bench.kernels MODEL [--audio FILE] [--seconds 10] [--rounds 5] [--sets avx2,graphs]

MODEL is an int8 bundle. Reports processor time of a window in the encoder, and its operations per second, of
its cross-attention keys and values, and of a decoder step of 16 windows with logits. The sets take turns;
each figure is the minimum. FILE is speech at 16 kHz: in noise, the default, attention has more weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile

from asr_batch.models.features import HOP, SAMPLE_RATE, log_mel
from asr_batch.models.kernels import library
from asr_batch.models.onnx.options import Cores
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.decoder import open_decoder
from asr_batch.models.whisper.engine.encoder import CpuEncoder
from asr_batch.models.whisper.engine.vocabulary import Vocabulary, VocabularyGraphs
from asr_batch.models.whisper.silence import encoded_positions
from bench.inputs import an_existing_file, an_existing_folder, start

SLOTS, TOKENS = 16, 36


def operations(config: WhisperConfig, positions: int) -> int:
    """Multiplications and additions of the encoder."""
    d, mels, ffn = config.d_model, config.n_mels, config.encoder_ffn
    layer = positions * (4 * d * d + 2 * d * ffn) + 2 * positions**2 * d
    return 2 * (2 * positions * 3 * mels * d + positions * 3 * d * d + config.encoder_layers * layer)


def window(config: WhisperConfig, seconds: float, audio: Path | None) -> np.ndarray:
    """Log-mel of noise or of the beginning of `audio`, [1, n_mels, frames]."""
    samples = int(seconds * SAMPLE_RATE)
    frames = 2 * encoded_positions(samples, config.max_source_positions)
    if audio is None:
        return np.random.default_rng(0).uniform(-1, 1, (1, config.n_mels, frames)).astype(np.float32)
    speech = soundfile.read(audio, samples, dtype="float32")[0]
    return log_mel(speech, config.n_mels, frames * HOP)[None, :, :frames]


def parts(folder: Path, sound: np.ndarray, provider: str) -> dict[str, Callable[[], object]]:
    """The parts to time, with the current kernels if `provider` is `auto`."""
    config = WhisperConfig.from_folder(folder)
    encoder, vocabulary = CpuEncoder(folder, Cores(1), provider), VocabularyGraphs(folder, provider)
    decoder, logits = open_decoder(folder, config, vocabulary, provider), Vocabulary(vocabulary, SLOTS)
    hidden = encoder.start(sound).result()[0]
    steps = decoder.steps(SLOTS, 48, logits.states)
    for slot in range(SLOTS):
        steps.buffers.put(slot, decoder.projector.project(hidden))

    def step() -> None:
        for at in range(TOKENS):
            steps.step([at] * SLOTS, [at] * SLOTS)
            logits.scores(SLOTS)

    return {
        "encoder": lambda: encoder.start(sound).result(),
        "keys and values": lambda: decoder.projector.project(hidden),
        "step": step,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="times the kernel sets and the graphs on one thread")
    parser.add_argument("model", type=an_existing_folder)
    parser.add_argument("--audio", type=an_existing_file)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sets", help="separated by commas; default: all, and the graphs")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    config, runners = WhisperConfig.from_folder(args.model), {}
    sound = window(config, args.seconds, args.audio)
    chosen = None if args.sets is None else args.sets.split(",")
    for one in [*library.all_sets(), library.NUMPY]:
        if chosen is None or one.name in chosen:
            with mock.patch.object(library, "in_use", lambda one=one: one):
                runners[one.name] = parts(args.model, sound, "auto")
    if chosen is None or "graphs" in chosen:
        runners["graphs"] = parts(args.model, sound, "cpu")
    least: dict[tuple[str, str], float] = {}
    for _ in range(args.rounds):
        for name, timed in runners.items():
            for part, run in timed.items():
                start = time.process_time()
                run()
                took = time.process_time() - start
                least[name, part] = min(took, least.get((name, part), took))
    for name, timed in runners.items():
        ms = {part: 1e3 * least[name, part] / (TOKENS if part == "step" else 1) for part in timed}
        whole = ms["encoder"] + ms["keys and values"] + TOKENS * ms["step"] / SLOTS
        speed = operations(config, sound.shape[2] // 2) / least[name, "encoder"] / 1e9
        told = "  ".join(f"{part} {value:6.2f}" for part, value in ms.items())
        print(f"{name:11} {told}  window {whole:6.1f} ms  encoder {speed:4.0f} GOP/s")


if __name__ == "__main__":
    start(main)
