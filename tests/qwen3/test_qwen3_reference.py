"""All cases of the committed reference (PyTorch, not from ONNX) come out identical."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from asr_batch.models.features import log_mel
from asr_batch.models.qwen3 import layout
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.files import choose
from asr_batch.models.qwen3.graphs import Graphs, audio_positions
from asr_batch.models.qwen3.languages import language_code
from asr_batch.models.qwen3.prompt import PromptWriter
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, WindowRequest

MODEL = Path(__file__).parent.parent / "data" / "qwen3_asr_tiny"
EXPECTED = json.loads((MODEL / "expected.json").read_text(encoding="utf-8"))
SIGNALS = {one["name"]: one for one in EXPECTED["signals"]}
CASES = EXPECTED["cases"]
CONFIG = QwenConfig.from_folder(MODEL)


def samples(name: str) -> np.ndarray:
    with wave.open(str(MODEL / "signals" / f"{name}.wav")) as handle:
        raw = handle.readframes(handle.getnframes())
    return np.frombuffer(raw, np.int16).astype(np.float32) / 32768


def options(case: dict) -> DecodeOptions:
    return DecodeOptions(
        language=language_code(case["force_language"]) if case["force_language"] else None,
        prompt=case["context"] or None,
        max_new_tokens=EXPECTED["max_new_tokens"],
    )


def named(case: dict) -> str:
    return f"{case['signal']}-{case['force_language']}-{bool(case['context'])}"


@pytest.mark.parametrize("name", SIGNALS)
def test_log_mel_has_the_reference_values(name: str) -> None:
    mel, said = log_mel(samples(name), CONFIG.n_mels, None), SIGNALS[name]["mel"]
    assert [1, *mel.shape] == said["shape"]
    for band, frame, value in said["values_bin_frame"]:
        assert mel[band, frame] == pytest.approx(value, abs=1e-4)
    assert float(mel.mean()) == pytest.approx(said["mean"], abs=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_audio_features_have_the_reference_values(precision: str) -> None:
    graphs = Graphs(choose(MODEL, precision), CONFIG, 1)
    for name, signal in SIGNALS.items():
        features, said = graphs.encode(log_mel(samples(name), 128, None)), signal["audio_features"]
        assert list(features.shape) == said["shape"]
        for place, dim, value in said["values_pos_dim"]:
            assert features[0, place, dim] == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_prompt_ids_are_identical(case: dict) -> None:
    writer = PromptWriter(MODEL, CONFIG)
    prompt = writer.write(case["n_audio_tokens"], case["context"], options(case).language)
    pads = [CONFIG.audio_pad] * case["audio_pad_count"]
    assert list(prompt.ids) == case["prompt_ids_before_audio"] + pads + case["prompt_ids_after_audio"]
    assert (prompt.audio_offset, len(prompt.ids)) == (case["audio_offset"], case["prompt_len"])


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_generated_ids_are_identical(precision: str, batch: int) -> None:
    recognizer = layout.load(MODEL, LoadOptions(precision=precision, batch_size=batch, threads=2))
    for number, case in enumerate(CASES):
        recognizer.submit(WindowRequest(number, samples(case["signal"]), options(case)))
    results = {}
    while recognizer.pending():
        results |= {one.key: one for one in recognizer.poll()}
    recognizer.close()
    assert sorted(results) == list(range(len(CASES)))
    for number, case in enumerate(CASES):
        want = case if precision == "fp32" else case["int4"]
        if precision == "int4" and not want["robust"]:
            continue
        said = [one for one in want["greedy_ids"] if one not in CONFIG.eos]
        assert list(results[number].tokens) == said
        assert results[number].text == want["text"]
        assert results[number].language == language_code(want["language"])
        assert results[number].truncated == (want["stopped"] != "eos")
        assert -6 < results[number].avg_logprob < 0


@pytest.mark.parametrize(
    ("frames", "positions"),
    [(1, 1), (99, 13), (100, 13), (130, 17), (232, 30), (233, 31), (700, 91), (997, 130), (3000, 390)],
)
def test_positions_of_frames(frames: int, positions: int) -> None:
    assert audio_positions(frames) == positions
