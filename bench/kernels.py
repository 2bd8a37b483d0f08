"""Times the kernel sets that this machine can run, those in numpy, and ONNX Runtime's graphs, on one thread.

    python -m bench.kernels MODEL [ROUNDS]

MODEL is an int8 bundle. Reports processor time of a 10 s window in the encoder, of its cross-attention
keys and values, and of a decoder step of 16 windows with logits. The sets take turns; each figure is the
minimum.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from asr_batch.models.onnx.options import Cores
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.decoder import open_decoder
from asr_batch.models.whisper.engine.encoder import CpuEncoder
from asr_batch.models.whisper.engine.vocabulary import Vocabulary, VocabularyGraphs
from asr_batch.models.whisper.kernels import library
from asr_batch.models.whisper.silence import encoded_positions

SLOTS, TOKENS = 16, 36


def parts(folder: Path, provider: str) -> dict[str, Callable[[], object]]:
    """The parts to time, with the current kernels if `provider` is `auto`."""
    config = WhisperConfig.from_folder(folder)
    encoder, vocabulary = CpuEncoder(folder, Cores(1), provider), VocabularyGraphs(folder, provider)
    decoder, logits = open_decoder(folder, config, vocabulary, provider), Vocabulary(vocabulary, SLOTS)
    positions = encoded_positions(160000, config.max_source_positions)
    sound = np.random.default_rng(0).uniform(-1, 1, (1, config.n_mels, 2 * positions)).astype(np.float32)
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


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    runners = {}
    for chosen in [*library.all_sets(), library.NUMPY]:
        with mock.patch.object(library, "in_use", lambda chosen=chosen: chosen):
            runners[chosen.name] = parts(folder, "auto")
    runners["graphs"] = parts(folder, "cpu")
    least: dict[tuple[str, str], float] = {}
    for _ in range(rounds):
        for name, timed in runners.items():
            for part, run in timed.items():
                start = time.process_time()
                run()
                took = time.process_time() - start
                least[name, part] = min(took, least.get((name, part), took))
    for name, timed in runners.items():
        ms = {part: 1e3 * least[name, part] / (TOKENS if part == "step" else 1) for part in timed}
        window = ms["encoder"] + ms["keys and values"] + TOKENS * ms["step"] / SLOTS
        told = "  ".join(f"{part} {value:6.2f}" for part, value in ms.items())
        print(f"{name:11} {told}  window {window:6.1f} ms")


if __name__ == "__main__":
    main()
