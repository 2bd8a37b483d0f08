"""Another model of the layout against a plain loop over its published graphs, the prompt written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from tokenizers import Tokenizer

from asr_batch.models.features import log_mel
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, Recognizer, WindowRequest, WindowResult

CAP = 20


def sound(seconds: float, pitch: float) -> np.ndarray:
    at = np.arange(int(16_000 * seconds)) / 16_000
    return (0.3 * np.sin(2 * np.pi * pitch * at * (1 + 0.3 * at / seconds))).astype(np.float32)


WINDOWS = [
    (sound(1.31, 300), DecodeOptions(max_new_tokens=CAP)),
    (sound(9.4, 900), DecodeOptions(max_new_tokens=CAP, language="pt")),
    (sound(4.0, 150), DecodeOptions(max_new_tokens=CAP, prompt="names: Ada, Grace\nand more")),
    (sound(2.77, 2000), DecodeOptions(max_new_tokens=CAP, prompt="x", language="yue")),
    (sound(12.5, 700), DecodeOptions(max_new_tokens=CAP)),
]


def reference(folder: Path, mark: str, samples: np.ndarray, options: DecodeOptions) -> tuple[int, ...]:
    """The inference of the layout's README, word by word."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoder, init, step = (
        ort.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("encoder", f"decoder_init{mark}", f"decoder_step{mark}")
    )
    (features,) = encoder.run(None, {"mel": log_mel(samples, 128, None)[None]})
    name = {"pt": "Portuguese", "yue": "Cantonese"}.get(options.language or "")
    text = (
        f"<|im_start|>system\n{options.prompt or ''}<|im_end|>\n<|im_start|>user\n<|audio_start|>"
        + "<|audio_pad|>" * features.shape[1]
        + "<|audio_end|><|im_end|>\n<|im_start|>assistant\n"
        + (f"language {name}<asr_text>" if name else "")
    )
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    feed = {
        "input_ids": np.array([ids]),
        "position_ids": np.arange(len(ids))[None],
        "audio_features": features,
        "audio_offset": np.array([ids.index(config["special_tokens"]["audio_pad_token_id"])]),
    }
    logits, keys, values = init.run(None, feed)
    embed = np.fromfile(folder / "embed_tokens.bin", np.float32).reshape(config["decoder"]["vocab_size"], -1)
    said: list[int] = []
    while True:
        token = int(logits[0, -1].argmax())
        if token in config["special_tokens"]["eos_token_ids"]:
            return tuple(said)
        said.append(token)
        if len(said) == CAP:
            return tuple(said)
        place = np.array([[len(ids) + len(said) - 1]])
        feed = {"input_embeds": embed[token][None, None], "position_ids": place}
        logits, keys, values = step.run(None, {**feed, "past_keys": keys, "past_values": values})


def decode(recognizer: Recognizer, windows: list[tuple[np.ndarray, DecodeOptions]]) -> list[WindowResult]:
    waiting = list(enumerate(windows))
    found: dict[int, WindowResult] = {}
    while waiting or recognizer.pending():
        while waiting and recognizer.room():
            number, (samples, options) = waiting.pop(0)
            recognizer.submit(WindowRequest(number, samples, options))
        for one in recognizer.poll():
            assert one.key not in found
            found[one.key] = one
    return [found[number] for number in range(len(windows))]


@pytest.fixture(scope="module")
def expected(other_model: Path) -> list[tuple[int, ...]]:
    return [reference(other_model, "", samples, options) for samples, options in WINDOWS]


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (2, 2), (8, 2)])
def test_ids_equal_a_plain_loop(
    other_model: Path, expected: list[tuple[int, ...]], batch: int, threads: int
) -> None:
    recognizer = load_recognizer(
        other_model, LoadOptions(precision="fp32", batch_size=batch, threads=threads)
    )
    order = [3, 0, 4, 1, 2, 0, 3]
    results = decode(recognizer, [WINDOWS[number] for number in order])
    used, available = recognizer.occupancy()
    recognizer.close()
    assert [one.tokens for one in results] == [expected[number] for number in order]
    assert 0 < used <= available
    assert len(set(expected)) == len(expected), "the model must answer differently"


def test_int4_ids_do_not_depend_on_company(other_model: Path) -> None:
    def run(batch: int) -> list[tuple[int, ...]]:
        recognizer = load_recognizer(other_model, LoadOptions(batch_size=batch, threads=1))
        assert recognizer.info.precision == "int4"
        results = decode(recognizer, WINDOWS)
        recognizer.close()
        return [one.tokens for one in results]

    alone = run(1)
    assert run(3) == alone
    assert run(8) == alone


def test_info_tells_the_family(other_model: Path) -> None:
    recognizer = load_recognizer(other_model, LoadOptions(window=12.0, precision="fp32"))
    info = recognizer.info
    recognizer.close()
    assert (info.family, info.window, info.precision) == ("qwen3-asr", 12.0, "fp32")
    assert len(info.languages) == 30
    assert info.capabilities == {"prompt"}
    assert len(info.sha256) == 64


@pytest.mark.parametrize(
    ("sizes", "stepper"),
    [
        ({"head_dim": 24, "heads": 4, "kv_heads": 4, "layers": 1}, "PublishedStepper"),
        ({"head_dim": 48, "heads": 2, "kv_heads": 1, "hidden": 32, "ffn": 96}, "BatchedStepper"),
        ({"head_dim": 32, "heads": 2, "kv_heads": 2, "vocab": 2048, "embed": "float32"}, "BatchedStepper"),
    ],
    ids=["odd heads", "narrow", "no groups"],
)
def test_other_sizes(tmp_path: Path, make_model: Any, sizes: dict[str, Any], stepper: str) -> None:
    make_model(tmp_path, **sizes)
    recognizer = load_recognizer(tmp_path, LoadOptions(threads=1))
    assert type(recognizer._stepper).__name__ == stepper  # type: ignore[attr-defined]
    assert recognizer.info.precision == "fp32"
    results = decode(recognizer, WINDOWS[:3])
    recognizer.close()
    assert [one.tokens for one in results] == [reference(tmp_path, "", *window) for window in WINDOWS[:3]]
