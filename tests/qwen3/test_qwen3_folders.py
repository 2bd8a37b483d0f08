"""Damaged, mixed and unusual model folders: each is refused in one sentence that says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_batch.manifests.errors import ModelError
from asr_batch.models.load import load_recognizer
from asr_batch.models.onnx import writer as wire
from asr_batch.models.qwen3 import layout, memory, rewrite, sessions, trace
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.files import choose
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, WindowRequest

MODEL = Path(__file__).parent.parent / "data" / "qwen3_asr_tiny"
FP32 = LoadOptions(precision="fp32", threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    skip = shutil.ignore_patterns("signals", "expected.json")
    return Path(shutil.copytree(MODEL, tmp_path / "model", ignore=skip))


def change_config(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def words(model: Path, options: LoadOptions = FP32) -> tuple[int, ...]:
    recognizer = load_recognizer(model, options)
    tone = (np.sin(np.arange(20_000) / 9) / 5).astype(np.float32)
    recognizer.submit(WindowRequest("a", tone, DecodeOptions(max_new_tokens=8)))
    (result,) = recognizer.poll()
    recognizer.close()
    assert result.error is None
    return result.tokens


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("no data file", lambda d: (d / "decoder_weights.data").unlink(), r"decoder_weights\.data.*missing"),
    ("data cut short", lambda d: cut(d / "decoder_weights.data", 300_000), r"decoder_weights\.data.*300000"),
    ("graph cut short", lambda d: cut(d / "decoder_init.onnx", 9_000), r"decoder_init\.onnx"),
    ("empty graph", lambda d: cut(d / "decoder_step.onnx", 0), r"decoder_step\.onnx"),
    ("no graph at all", lambda d: (d / "encoder.onnx").write_text("<html>"), r"encoder\.onnx"),
    ("encoder cut short", lambda d: cut(d / "encoder.onnx", 100_000), r"encoder\.onnx"),
    ("embedding short", lambda d: cut(d / "embed_tokens.bin", 81_918), r"81918 bytes, expected 81920"),
    ("no embedding", lambda d: (d / "embed_tokens.bin").unlink(), r"missing embed_tokens\.bin"),
    ("no encoder", lambda d: (d / "encoder.onnx").unlink(), r"missing encoder\.onnx"),
    ("no step", lambda d: (d / "decoder_step.onnx").unlink(), r"missing decoder_step\.onnx"),
    ("no tokenizer", lambda d: (d / "tokenizer.json").unlink(), r"missing tokenizer\.json"),
    (
        "bad tokenizer",
        lambda d: (d / "tokenizer.json").write_text("{}"),
        r"tokenizer\.json: not a readable tokenizer",
    ),
    ("bad config", lambda d: (d / "config.json").write_text("{"), r"config\.json: cannot be read as JSON"),
    ("empty config", lambda d: (d / "config.json").write_text("{}"), r"section 'special_tokens' is missing"),
    (
        "init is step",
        lambda d: shutil.copy(d / "decoder_step.onnx", d / "decoder_init.onnx"),
        r"first version",
    ),
    (
        "step is init",
        lambda d: shutil.copy(d / "decoder_init.onnx", d / "decoder_step.onnx"),
        r"past_keys: exp",
    ),
    ("encoder is step", lambda d: shutil.copy(d / "decoder_step.onnx", d / "encoder.onnx"), r"mel: expected"),
]


@pytest.mark.parametrize(("damage", "message"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_damaged_folder_is_refused(folder: Path, damage: Callable, message: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=message):
        load_recognizer(folder, FP32)


WRONG: list[tuple[Callable[[dict], object], str]] = [
    (lambda c: c["decoder"].update(num_layers=3), r"present_keys: expected float32 \[3,"),
    (lambda c: c["decoder"].update(head_dim=16), r"found float32 \[2, batch, 2, seq_len, 32\]"),
    (lambda c: c["decoder"].update(vocab_size=641), r"81920 bytes, expected 82048"),
    (lambda c: c.update(embed_tokens_dtype="float64"), r"embed_tokens_dtype is 'float64'"),
    (lambda c: c.pop("embed_tokens_dtype"), r"81920 bytes, expected 163840"),
    (lambda c: c["special_tokens"].update(audio_pad_token_id=151676), r"audio_pad is 151676, outside"),
    (lambda c: c["special_tokens"].update(audio_pad_token_id=611), r"audio_pad the id 611, but .* as 610"),
    (lambda c: c["special_tokens"].update(eos_token_ids=[]), r"eos_token_ids is \[\]"),
    (lambda c: c["mel"].update(n_fft=512), r"mel n_fft is 512"),
    (lambda c: c["decoder"].update(num_key_value_heads=3), r"4 attention heads are not a multiple of 3"),
    (lambda c: c["encoder"].update(output_dim=32), r"must be equal"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[w[1][:24] for w in WRONG])
def test_config_that_does_not_fit_is_refused(folder: Path, change: Callable, message: str) -> None:
    change_config(folder, change)
    with pytest.raises(ModelError, match=message):
        load_recognizer(folder, FP32)


def test_weights_that_are_not_numbers_are_refused(folder: Path) -> None:
    data = folder / "decoder_weights.data"
    data.write_bytes(b"\xff" * data.stat().st_size)
    with pytest.raises(ModelError, match="not finite"):
        load_recognizer(folder, FP32)


def test_encoder_with_another_count_of_features_is_refused(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(folder / "encoder.onnx")
    (last,) = [node for node in model.graph.node if "audio_features" in node.output]
    last.output[0] = "all"
    ends = [onnx.numpy_helper.from_array(np.array([end]), f"cut{at}") for at, end in enumerate((0, -1, 1))]
    model.graph.initializer.extend(ends)
    names = ["all", "cut0", "cut1", "cut2"]
    model.graph.node.append(onnx.helper.make_node("Slice", names, ["audio_features"]))
    onnx.save(model, folder / "encoder.onnx")
    with pytest.raises(ModelError, match=r"returned \(1, 6, 64\) for 50 frames, expected \(1, 7, 64\)"):
        load_recognizer(folder, FP32)


def test_data_linked_from_outside_is_refused_with_advice(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "decoder_weights.data", tmp_path / "elsewhere.data")
    (folder / "decoder_weights.data").symlink_to(tmp_path / "elsewhere.data")
    with pytest.raises(ModelError, match="outside the model folder; copy the file"):
        load_recognizer(folder, FP32)


def test_hub_cache_of_links_into_blobs_works(folder: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, blobs / f"{number:064x}")
        (snapshot / path.name).symlink_to(Path("..") / ".." / "blobs" / f"{number:064x}")
    assert words(snapshot) == words(folder)
    assert words(snapshot, LoadOptions()) == words(folder, LoadOptions())


def test_precision_rule(folder: Path) -> None:
    assert choose(folder, "auto").precision == "int4"
    assert choose(folder, "fp32").decoder_step.name == "decoder_step.onnx"
    (folder / "decoder_step.int4.onnx").unlink()
    assert choose(folder, "auto").precision == "fp32"
    assert choose(folder, "int4").precision == "int4+fp32"
    (folder / "decoder_init.int4.onnx").unlink()
    with pytest.raises(ModelError, match=r"no decoder_init\.int4\.onnx; found decoder_init\.onnx"):
        choose(folder, "int4")


def test_package_with_int4_files_only(folder: Path) -> None:
    (folder / "encoder.onnx").rename(folder / "encoder.int4.onnx")
    for name in ("decoder_init.onnx", "decoder_step.onnx", "decoder_weights.data"):
        (folder / name).unlink()
    assert words(folder, LoadOptions()) == words(MODEL, LoadOptions())
    with pytest.raises(ModelError, match="fp32 was requested"):
        load_recognizer(folder, FP32)


def test_mixed_folder_runs(folder: Path) -> None:
    (folder / "decoder_step.int4.onnx").unlink()
    assert len(words(folder, LoadOptions(precision="int4"))) == 8


def test_fingerprint_follows_every_file_that_counts(folder: Path) -> None:
    def seen() -> str:
        recognizer = layout.load(folder, FP32)
        recognizer.close()
        return recognizer.info.sha256

    first = seen()
    (folder / "README.md").write_text("nothing")
    (folder / "decoder_weights.int4.data").unlink()
    assert seen() == first
    with (folder / "decoder_weights.data").open("r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"\x01")
    assert seen() != first


def test_graph_of_another_build_runs_as_published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(graph: object) -> None:
        raise trace.NotTracedError("of another build")

    before = words(folder)
    monkeypatch.setattr("asr_batch.models.qwen3.rewrite.trace", unknown)
    monkeypatch.setattr("asr_batch.models.qwen3.graphs.last_position", unknown)
    recognizer = layout.load(folder, FP32)
    assert type(recognizer._stepper).__name__ == "PublishedStepper"  # type: ignore[attr-defined]
    recognizer.close()
    assert words(folder) == before


def test_rewritten_step_that_disagrees_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asr_batch.models.qwen3 import batched

    def wrong(room: int, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((room, len(turns)), np.float32), np.ones((room, len(turns)), np.float32)

    monkeypatch.setattr(batched, "rotary", wrong)
    recognizer = layout.load(folder, FP32)
    assert type(recognizer._stepper).__name__ == "PublishedStepper"  # type: ignore[attr-defined]
    recognizer.close()


def test_memory_is_planned_before_loading() -> None:
    files, config = choose(MODEL, "fp32"), QwenConfig.from_folder(MODEL)
    ample = memory.plan(files, config, 10**9, 8, 30.0, free=10**10)
    assert (ample.slots, ample.packed) == (8, True)
    assert not memory.plan(files, config, 10**9, 8, 30.0, free=int(1.9e9)).packed
    deep = replace(config, layers=400, kv_heads=8)
    assert memory.plan(files, deep, 0, 8, 30.0, free=4 * 10**9).slots in (2, 4)
    int4 = choose(MODEL, "int4")
    with pytest.raises(ModelError):  # unpacked int4 would be slow beyond use
        memory.plan(int4, config, 10**9, 1, 30.0, free=int(1.9e9))
    with pytest.raises(ModelError, match=r"needs about 0\.9 GiB .* 0\.9 GiB are free; use int4"):
        memory.plan(files, config, 10**9, 8, 30.0, free=10**9)


def test_provider_other_than_cpu_is_refused() -> None:
    with pytest.raises(ModelError, match="runs on cpu"):
        load_recognizer(MODEL, LoadOptions(provider="cuda"))


def test_large_graphs_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SMALL_GRAPH", 10)
    assert words(MODEL) == words(MODEL, LoadOptions(precision="fp32", threads=2))


def test_rotary_frequencies_are_those_of_the_graph() -> None:
    config = QwenConfig.from_folder(MODEL)
    graph = wire.read_graph(MODEL / "decoder_step.onnx")
    found = rewrite.frequencies(graph, config)
    assert found[0] == 1.0
    assert any(found.tobytes() in tensor for tensor in graph.tensors.values())
    formula = rewrite.frequencies(wire.GraphParts(), config)
    np.testing.assert_allclose(found, formula, rtol=1e-6)
