"""The Qwen3-ASR engine against a plain loop over the same published files, interleaved.

    python -m bench.qwen3.scaled [--precision fp32|int4] [--windows 12] [--seconds 30] [--tokens 100]

The model is the tiny fixture's structure at hidden 512 with 8 layers (random weights, written by
bench/qwen3/folder.py). The plain loop is the layout's published inference: one window after the other,
`session.run` with numpy arrays, all cores for every session. Both get the same windows and must generate
the same ids. Figures are per round: seconds and their ratio, and the ratio of processor seconds, which other
jobs on the machine disturb less. `--no-spin` lets the plain loop's threads sleep when idle, as ours do.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from asr_batch.models.features import log_mel
from asr_batch.models.qwen3 import layout
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.prompt import PromptWriter
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, WindowRequest
from bench.inputs import an_existing_folder, start
from bench.qwen3.folder import SCALED, write_model


def windows(count: int, seconds: float) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    out = []
    for _ in range(count):
        length = int(16_000 * seconds * rng.uniform(0.8, 1.0))
        at = np.arange(length) / 16_000
        tones = [rng.uniform(0.02, 0.2) * np.sin(2 * np.pi * rng.uniform(100, 4000) * at) for _ in range(5)]
        out.append(
            (sum(tones) * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.3, 4) * at))).astype(np.float32)
        )
    return out


class PlainLoop:
    """The layout's inference as described by its exporter."""

    def __init__(self, folder: Path, precision: str, spin: bool) -> None:
        options = ort.SessionOptions()
        if not spin:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        mark = ".int4" if precision == "int4" else ""
        names = ("encoder.onnx", f"decoder_init{mark}.onnx", f"decoder_step{mark}.onnx")
        cpu = ["CPUExecutionProvider"]
        sessions = [ort.InferenceSession(folder / name, options, providers=cpu) for name in names]
        self.encoder, self.init, self.step = sessions
        self.config = QwenConfig.from_folder(folder)
        self.writer = PromptWriter(folder, self.config)
        kind = np.float16 if self.config.embed_bytes == 2 else np.float32
        flat = np.fromfile(folder / "embed_tokens.bin", kind).astype(np.float32)
        self.embed = flat.reshape(self.config.vocab, self.config.hidden)

    def run(self, samples: np.ndarray, cap: int) -> list[int]:
        features = self.encoder.run(None, {"mel": log_mel(samples, 128, None)[None]})[0]
        prompt = self.writer.write(features.shape[1])
        length = len(prompt.ids)
        feed = {
            "input_ids": np.array([prompt.ids], np.int64),
            "position_ids": np.arange(length, dtype=np.int64)[None],
            "audio_features": features,
            "audio_offset": np.array([prompt.audio_offset], np.int64),
        }
        logits, keys, values = self.init.run(None, feed)
        tokens = [int(logits[0, -1].argmax())]
        while tokens[-1] not in self.config.eos and len(tokens) < cap:
            feed = {
                "input_embeds": self.embed[tokens[-1]][None, None],
                "position_ids": np.array([[length]], np.int64),
                "past_keys": keys,
                "past_values": values,
            }
            logits, keys, values = self.step.run(None, feed)
            tokens.append(int(logits[0, -1].argmax()))
            length += 1
        return [one for one in tokens if one not in self.config.eos]


def ours(recognizer: layout.Recognizer, audio: list[np.ndarray], cap: int) -> list[list[int]]:
    results: dict[int, list[int]] = {}
    waiting = list(enumerate(audio))
    while len(results) < len(audio):
        while waiting and recognizer.room():
            number, samples = waiting.pop(0)
            recognizer.submit(WindowRequest(number, samples, DecodeOptions(max_new_tokens=cap)))
        for one in recognizer.poll():
            assert one.error is None, one.error
            results[one.key] = list(one.tokens)
    return [results[number] for number in range(len(audio))]


def timed(work: Callable[[], list[list[int]]]) -> tuple[list[list[int]], float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    return work(), time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "int4"])
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--no-spin", action="store_true")
    parser.add_argument("--model", type=an_existing_folder, help="a folder already written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.model or Path(scratch)
        if not asked.model:
            write_model(folder, SCALED)
        compare(folder, asked)


def compare(folder: Path, asked: argparse.Namespace) -> None:
    audio = windows(asked.windows, asked.seconds)
    options = LoadOptions(precision=asked.precision, batch_size=asked.batch, threads=asked.threads)
    recognizer, plain = layout.load(folder, options), PlainLoop(folder, asked.precision, not asked.no_spin)
    ours(recognizer, audio[:2], 4)
    plain.run(audio[0], 4)
    walls, cpus = [], []
    for _ in range(asked.rounds):
        expected, wall, cpu = timed(lambda: [plain.run(samples, asked.tokens) for samples in audio])
        found, our_wall, our_cpu = timed(lambda: ours(recognizer, audio, asked.tokens))
        walls.append(wall / our_wall)
        cpus.append(cpu / our_cpu)
        same = sum(left == right for left, right in zip(expected, found, strict=True))
        print(
            f"plain {wall:.2f} s, ours {our_wall:.2f} s, ratio {walls[-1]:.2f} (processor {cpus[-1]:.2f}), "
            f"{same}/{len(audio)} windows identical, {sum(map(len, found))} ids",
            flush=True,
        )
    recognizer.close()
    print(f"median ratio {statistics.median(walls):.2f}, of processor seconds {statistics.median(cpus):.2f}")


if __name__ == "__main__":
    start(main)
