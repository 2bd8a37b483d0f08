"""The kit's graphs compute what Whisper computes, with static shapes and the operators of the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx")

from asr_batch.manifests.errors import ModelError  # noqa: E402
from asr_batch.models.features import log_mel  # noqa: E402
from asr_batch.models.whisper.compile.hailo.export import export_kit  # noqa: E402
from asr_batch.models.whisper.compile.hailo.graph import vocabulary_borders  # noqa: E402


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A random Whisper trained for 4 s: the module that computes it plainly, folder, spec, weights."""
    from importlib import util

    path = Path(__file__).parent.parent / "helpers" / "tiny_whisper.py"
    spec = util.spec_from_file_location("npu_tiny_whisper", path)
    assert spec is not None
    assert spec.loader is not None
    tiny = util.module_from_spec(spec)
    sys.modules["npu_tiny_whisper"] = tiny
    spec.loader.exec_module(tiny)
    folder = tmp_path_factory.mktemp("whisper")
    whisper = tiny.Tiny(seed=11, encoder_layers=2, decoder_layers=2, trained=4, window=2, multilingual=True)
    tiny.write_json(folder, whisper)
    state = tiny.weights(whisper)
    from safetensors.numpy import save_file

    save_file(
        {name: np.ascontiguousarray(value) for name, value in state.items()}, folder / "model.safetensors"
    )
    return tiny, folder, whisper, state


@pytest.fixture(scope="module")
def kit(source: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kit")
    rng = np.random.default_rng(1)
    export_kit(
        source[1], out, 2.0, "hailo8l", [rng.normal(0, 0.1, n).astype(np.float32) for n in (70_000, 9_000)]
    )
    return out


def run(graph: bytes | Path, **inputs: np.ndarray) -> list[np.ndarray]:
    data = graph if isinstance(graph, bytes) else str(graph)
    return list(ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, inputs))


def test_the_encoder_is_the_ordinary_one_with_its_first_positions(kit: Path, source: Any) -> None:
    tiny, _, spec, state = source
    mel = np.random.default_rng(2).normal(0, 0.5, (1, 80, 200)).astype(np.float32)
    wanted = run(tiny.encoder_model(spec, state).SerializeToString(), input_features=mel)[0]
    got = run(kit / "encoder.onnx", log_mel=mel[:, :, np.newaxis])[0]
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_the_decoder_is_the_ordinary_one(kit: Path, source: Any) -> None:
    tiny, _, spec, state = source
    rng = np.random.default_rng(3)
    ids = rng.integers(0, spec.words, (1, 32))
    hidden = rng.normal(0, 1, (1, 100, 32)).astype(np.float32)
    ordinary = tiny.decoder_model(spec, state, past=False).SerializeToString()
    wanted = run(ordinary, input_ids=ids, encoder_hidden_states=hidden)[0]
    got = run(kit / "decoder.onnx", decoder_input_ids=ids, encoder_hidden_states=hidden)[0]
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    table, learned = np.load(kit / "token_embedding.npy"), np.load(kit / "positions.npy")
    parts = run(kit / "decoder_npu.onnx", embedded_tokens=table[ids] + learned, encoder_hidden_states=hidden)
    assert [part.shape[2] for part in parts] == list(np.diff(vocabulary_borders(len(table))))
    np.testing.assert_allclose(np.concatenate(parts, axis=2), wanted, atol=1e-4)


def test_the_future_does_not_leak(kit: Path) -> None:
    rng = np.random.default_rng(4)
    hidden = rng.normal(0, 1, (1, 100, 32)).astype(np.float32)
    one = rng.integers(0, 200, (1, 32))
    other = one.copy()
    other[0, 7:] = 9
    first = run(kit / "decoder.onnx", decoder_input_ids=one, encoder_hidden_states=hidden)[0]
    second = run(kit / "decoder.onnx", decoder_input_ids=other, encoder_hidden_states=hidden)[0]
    np.testing.assert_allclose(first[:, :7], second[:, :7], atol=1e-5)
    assert np.abs(first[:, 7:] - second[:, 7:]).max() > 0.1


def test_on_a_hailo10h_the_positions_are_inside(source: Any, kit: Path, tmp_path: Path) -> None:
    export_kit(source[1], tmp_path, 2.0, "hailo10h")
    rng = np.random.default_rng(5)
    table, learned = np.load(kit / "token_embedding.npy"), np.load(kit / "positions.npy")
    tokens = table[rng.integers(0, 200, (1, 32))]
    hidden = rng.normal(0, 1, (1, 100, 32)).astype(np.float32)
    outside = run(kit / "decoder_npu.onnx", embedded_tokens=tokens + learned, encoder_hidden_states=hidden)
    inside = run(tmp_path / "decoder_npu.onnx", embedded_tokens=tokens, encoder_hidden_states=hidden)
    np.testing.assert_allclose(inside[0], outside[0], atol=1e-4)
    assert "layer_norm_decomposition" in (tmp_path / "encoder.alls").read_text()
    assert "packaged clip only" in (tmp_path / "README.md").read_text()


def test_shapes_are_static_and_operators_plain(kit: Path) -> None:
    for name, opset in (("encoder", 17), ("decoder", 13), ("decoder_npu", 13)):
        model = onnx.load(kit / f"{name}.onnx")
        assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & {"Shape", "If", "Loop", "Conv1d", "Einsum", "Attention", "Gelu", "Slice"}
        for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
            assert all(d.WhichOneof("value") == "dim_value" for d in value.type.tensor_type.shape.dim), name
        made = {out for node in model.graph.node for out in node.output}
        typed = {v.name for v in [*model.graph.value_info, *model.graph.output]}
        assert made <= typed, "every value has its shape written down"
    convs = [n for n in onnx.load(kit / "encoder.onnx").graph.node if n.op_type == "Conv"]
    found = [{a.name: list(a.ints) for a in conv.attribute} for conv in convs]
    assert [a["kernel_shape"] for a in found] == [[1, 3], [1, 3]]
    assert [(a["strides"], a["pads"]) for a in found] == [([1, 1], [0, 1, 0, 1]), ([1, 2], [0, 1, 0, 1])]
    names = {node.name for node in onnx.load(kit / "decoder.onnx").graph.node}
    assert {"/Reshape", "/MatMul", "/MatMul_1", "/MatMul_2", "/MatMul_3"} <= names


def test_calibration_is_the_runtime_log_mel(kit: Path) -> None:
    rng = np.random.default_rng(1)
    audio = rng.normal(0, 0.1, 70_000).astype(np.float32)
    windows = np.load(kit / "encoder_calibration.npy")
    assert windows.shape == (3, 1, 200, 80)  # two of the first, whose rest is too short; one of the second
    np.testing.assert_array_equal(windows[0, 0].T, log_mel(audio[:32_000], 80, 32_000))
    np.testing.assert_array_equal(windows[1, 0].T, log_mel(audio[32_000:64_000], 80, 32_000))
    decoder = np.load(kit / "decoder_calibration.npz")
    assert decoder["decoder/input_layer1"].shape == (3, 1, 100, 32)
    assert decoder["decoder/input_layer2"].shape == (3, 32, 1, 32)


def test_the_kit_says_what_to_do(kit: Path) -> None:
    facts = json.loads((kit / "kit.json").read_text())
    assert (facts["frames"], facts["positions"], facts["tokens"]) == (200, 100, 32)
    assert facts["host_adds_positions"] is True
    subprocess.run([sys.executable, "-m", "py_compile", str(kit / "convert.py")], check=True)
    script = (kit / "encoder.alls").read_text()
    assert "calibset_size=3" in script
    assert "zp_comp_block" in script


@pytest.mark.parametrize(
    ("window", "target", "words"),
    [(2.0, "hailo9", "hailo8l"), (2.005, "hailo8", "impossible"), (30.0, "hailo8", "impossible")],
)
def test_refusals(window: float, target: str, words: str, source: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        export_kit(source[1], tmp_path, window, target)


def test_calibration_files(source: Any, tmp_path: Path) -> None:
    import wave

    good, bad = tmp_path / "a.wav", tmp_path / "b.wav"
    for path, rate in ((good, 16_000), (bad, 8_000)):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(b"\1\2" * 32_000)
    export_kit(source[1], tmp_path / "kit", 2.0, "hailo8", [good], decoder=False)
    assert np.load(tmp_path / "kit" / "encoder_calibration.npy").shape == (1, 1, 200, 80)
    with pytest.raises(ModelError, match="16000 Hz"):
        export_kit(source[1], tmp_path / "kit2", 2.0, "hailo8", [bad], decoder=False)


def test_against_transformers(source: Any, kit: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(source[1]).eval()
    mel = np.random.default_rng(6).normal(0, 0.5, (1, 80, 200)).astype(np.float32)
    encoder = model.model.encoder
    with torch.no_grad():
        padded = torch.nn.functional.gelu(encoder.conv1(torch.tensor(mel)))
        states = torch.nn.functional.gelu(encoder.conv2(padded)).permute(0, 2, 1)
        states = states + encoder.embed_positions.weight[:100]
        for layer in encoder.layers:
            out = layer(states, None)
            states = out[0] if isinstance(out, tuple) else out
        states = encoder.layer_norm(states)
        ids = torch.randint(0, 200, (1, 32), generator=torch.Generator().manual_seed(1))
        logits = model(encoder_outputs=(states,), decoder_input_ids=ids).logits.numpy()
    got = run(kit / "encoder.onnx", log_mel=mel[:, :, np.newaxis])[0]
    np.testing.assert_allclose(got, states.numpy(), atol=1e-4)
    got = run(kit / "decoder.onnx", decoder_input_ids=ids.numpy(), encoder_hidden_states=states.numpy())[0]
    np.testing.assert_allclose(got, logits, atol=1e-4)
