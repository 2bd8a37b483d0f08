"""CTranslate2 folders as a source: every version and type of the format, and files that lie."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tiny_ct2
import whisper_reference as reference
from tiny_whisper import Tiny, tokenizer_json, weights

from asr_batch.manifests.errors import ModelError
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, WindowRequest
from asr_batch.models.whisper.compile.bundle import compile_bundle
from asr_batch.models.whisper.compile.sources.model_bin import read_model_bin
from asr_batch.models.whisper.compile.weights import read_source
from asr_batch.models.whisper.config import WhisperConfig

SPEC = Tiny(2, heads=3, encoder_layers=2, decoder_layers=2, n_mels=128, multilingual=True)
ERROR = {"float32": 0.0, "float16": 1e-3, "bfloat16": 8e-3, "int16": 4e-3, "int8": 2e-2, "int8_float16": 2e-2}


def tensors(folder: Path) -> dict[str, np.ndarray]:
    found = read_source(folder).tensors
    return {name: np.asarray(found[name], np.float32) for name in found}


@pytest.mark.parametrize("kind", ERROR)
def test_every_type_gives_the_weights_back(tmp_path: Path, kind: str) -> None:
    state = tiny_ct2.write(tmp_path, SPEC, kind)
    found = tensors(tmp_path)
    expected = {name.removeprefix("model."): value for name, value in state.items()}
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= ERROR[kind] * np.abs(value).max(), name


@pytest.mark.parametrize("version", [4, 5, 6])
def test_versions_hold_the_same(tmp_path: Path, version: int) -> None:
    tiny_ct2.write(tmp_path, SPEC, version=version)
    assert np.array_equal(
        tensors(tmp_path)["encoder.conv1.weight"], weights(SPEC)["model.encoder.conv1.weight"]
    )


def test_config_says_what_the_folder_says(tmp_path: Path) -> None:
    tiny_ct2.write(tmp_path, SPEC)
    config = read_config(tmp_path)
    assert (config.n_mels, config.d_model, config.decoder_heads, config.encoder_layers) == (128, 48, 3, 2)
    assert set(config.languages) == {"en", "de", "fr"}
    assert config.multilingual
    assert config.alignment_heads == ((1, 0),)
    assert config.suppress[:3] == (5, 17, 40)
    assert config.begin_suppress == (220, config.eot)
    assert config.sot == config.eot + 1
    assert config.timestamp_begin == SPEC.words + 11
    assert config.max_initial_timestamp == 50


@pytest.mark.parametrize("spec", reference.SPECS, ids=lambda spec: f"seed{spec.seed}")
def test_tokens_are_those_of_transformers(tmp_path: Path, spec: Tiny) -> None:
    """`tests/data/whisper_reference.json` holds what `transformers` makes of the same weights."""
    tiny_ct2.write(tmp_path / "ct2", spec)
    compile_bundle(tmp_path / "ct2", tmp_path / "out", window=spec.window, precision="fp32")
    model = load_recognizer(tmp_path / "out", LoadOptions(threads=2))
    stored = json.loads(reference.STORE.read_text())[str(spec.seed)]
    options = DecodeOptions(
        plain=True, max_new_tokens=reference.CAP, language="de" if spec.multilingual else None
    )
    clips = reference.clips(spec)
    waiting, found = [WindowRequest(i, clip, options) for i, clip in enumerate(clips)], {}
    while len(found) < len(clips):
        while waiting and model.room():
            model.submit(waiting.pop(0))
        found |= {result.key: list(result.tokens) for result in model.poll()}
    model.close()
    assert [found[i] for i in range(len(clips))] == stored["tokens"]


def test_a_missing_tokenizer_is_made_from_the_vocabulary(tmp_path: Path) -> None:
    tiny_ct2.write(tmp_path, SPEC, tokenizer=False)
    made = json.loads(read_source(tmp_path).files["tokenizer.json"])
    given = tokenizer_json(SPEC)
    assert made["model"] == given["model"]
    control = [one["content"] for one in given["added_tokens"] if not one["content"][2].isdigit()]
    assert [one["content"] for one in made["added_tokens"]] == control


def test_a_vocabulary_of_json_serves_too(tmp_path: Path) -> None:
    tiny_ct2.write(tmp_path, SPEC, tokenizer=False)
    tokens = (tmp_path / "vocabulary.txt").read_text().removesuffix("\n").split("\n")
    (tmp_path / "vocabulary.txt").unlink()
    (tmp_path / "vocabulary.json").write_text(json.dumps(tokens))
    assert json.loads(read_source(tmp_path).files["tokenizer.json"])["model"] == tokenizer_json(SPEC)["model"]


def test_a_vocabulary_of_another_model_is_refused(tmp_path: Path) -> None:
    tiny_ct2.write(tmp_path, SPEC, tokenizer=False)
    tiny_ct2.write_vocabulary(tmp_path, Tiny(1, words=310))
    with pytest.raises(ModelError, match=r"not a list of \d+ tokens.*tokenizer\.json of the same model"):
        read_source(tmp_path)


def parts(kind: str = "float32") -> dict[str, tuple[str, np.ndarray]]:
    return tiny_ct2.quantised(tiny_ct2.variables(weights(SPEC), SPEC), kind)


def refused(tmp_path: Path, content: bytes) -> str:
    """The message with which a folder with this model.bin is refused, in memory bounded by the file."""
    tiny_ct2.write(tmp_path, SPEC)
    (tmp_path / "model.bin").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError) as caught:
            read_config(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(content) + (8 << 20)
    finally:
        tracemalloc.stop()
    assert str(tmp_path) in str(caught.value)
    return str(caught.value)


def read_config(folder: Path) -> WhisperConfig:
    """The config that a bundle of the folder would have."""
    (made := folder / "made").mkdir(exist_ok=True)
    for name, content in read_source(folder).files.items():
        (made / name).write_bytes(content)
    return WhisperConfig.from_folder(made)


def test_cut_short_anywhere(tmp_path: Path) -> None:
    whole = tiny_ct2.model_bin(parts())
    path = tmp_path / "model.bin"
    for length in [*range(0, 400, 7), *range(400, len(whole), len(whole) // 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"model\.bin"):
            read_model_bin(path)


def test_a_byte_changed_anywhere_never_escapes(tmp_path: Path) -> None:
    """Whatever a damaged head says: a ModelError or a model, no other exception, no large allocation."""
    whole = bytearray(tiny_ct2.model_bin({k: v for k, v in parts().items() if v[1].nbytes < 300}))
    path = tmp_path / "model.bin"
    tracemalloc.start()
    for at in [*range(300), *range(300, len(whole), 53)]:
        for value in (0, 255, whole[at] ^ 1):
            damaged = bytearray(whole)
            damaged[at] = value
            path.write_bytes(damaged)
            with contextlib.suppress(ModelError):
                read_model_bin(path)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


FFN, QKV = "encoder/layer_0/ffn/linear_0", "encoder/layer_0/self_attention/linear_0"
ONES = np.ones(200, np.float32)
LIES = {
    "version": (lambda: tiny_ct2.model_bin(parts(), version=7), "version 7"),
    "old version": (lambda: tiny_ct2.model_bin(parts(), version=3), "convert the model"),
    "other model": (lambda: tiny_ct2.model_bin(parts(), specification="TransformerSpec"), "TransformerSpec"),
    "trailing": (lambda: tiny_ct2.model_bin(parts()) + b"\0" * 9, "9 bytes follow"),
    "count": (lambda: counted(0xFFFFFFFF), "4294967295 variables"),
    "count too small": (lambda: counted(len(parts()) - 1), "aliases"),
    "strange array": (
        lambda: changed({f"{FFN}/low_rank": ("float32", ONES)}),
        "not an array of a Whisper model",
    ),
    "no scale": (lambda: changed({f"{FFN}/weight_scale": None}, "int8"), "weight_scale is missing"),
    "zero scale": (
        lambda: changed({f"{FFN}/weight_scale": ("float32", 0 * ONES[:192])}, "int8"),
        "invalid scale",
    ),
    "short scale": (lambda: changed({f"{FFN}/weight_scale": ("float32", ONES[:7])}, "int8"), "one per row"),
    "key bias": (lambda: changed({f"{QKV}/bias": ("float32", ONES[:144])}), "no bias"),
    "odd rows": (lambda: changed({f"{QKV}/bias": ("float32", ONES[:143])}), "multiple of 3"),
    "no embedding": (lambda: changed({"decoder/embeddings/weight": None}), "alias"),
    "activation": (lambda: changed({"decoder/activation": ("int8", np.int8(0))}), "activation"),
    "heads": (lambda: changed({"decoder/num_heads": ("int16", np.int16(-3))}), "heads"),
    "layers": (lambda: renamed("encoder/layer_1/", "encoder/layer_5/"), "not numbered"),
    "own projection": (lambda: changed({"decoder/projection/weight": ("float32", ONES[:8])}), "alias"),
}


def changed(what: dict[str, tuple[str, np.ndarray] | None], kind: str = "float32") -> bytes:
    both = parts(kind) | what
    return tiny_ct2.model_bin({name: part for name, part in both.items() if part is not None})


def renamed(old: str, new: str) -> bytes:
    return tiny_ct2.model_bin({name.replace(old, new): part for name, part in parts().items()})


def counted(count: int) -> bytes:
    honest = struct.pack("<II", 3, len(parts()))
    return tiny_ct2.model_bin(parts()).replace(honest, struct.pack("<II", 3, count), 1)


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(tmp_path: Path, lie: str) -> None:
    make, words = LIES[lie]
    assert words in refused(tmp_path, make())


def test_sizes_that_do_not_fit_the_shape(tmp_path: Path) -> None:
    name, (kind, value) = "encoder/conv1/bias", parts()["encoder/conv1/bias"]
    honest = tiny_ct2.variable(name, kind, value)
    at = len(tiny_ct2.string(name))
    for lie in (struct.pack("<BI", 1, 1 << 31), struct.pack("<B", 200), struct.pack("<BI", 1, 0)):
        lying = honest[:at] + lie + honest[at + len(lie) :]
        whole = tiny_ct2.model_bin(parts()).replace(honest, lying)
        refused(tmp_path / str(len(lie)) / str(lie[-1]), whole)


def test_a_configuration_of_the_wrong_kind_is_a_model_error(tmp_path: Path) -> None:
    tiny_ct2.write(tmp_path, SPEC)
    for broken in ({"lang_ids": [[1]]}, {"lang_ids": 5}, [1, 2], {"suppress_ids": "abc"}):
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(ModelError):
            compile_bundle(tmp_path, tmp_path / "out", window=10.0, precision="fp32")
