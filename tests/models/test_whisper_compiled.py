"""Compiled bundles against `transformers` (stored and live) and the rules of the engine."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import whisper_reference as reference
from tiny_whisper import Tiny, weights
from whisper_bundles import bundle, decode, options_for, source

from asr_batch.manifests.errors import ModelError
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import Recognizer, WindowRequest
from asr_batch.models.whisper.compile.bundle import compile_bundle

pytest.importorskip("onnx")
EXPECTED = json.loads(reference.STORE.read_text())
IDS = [f"seed{spec.seed}" for spec in reference.SPECS]


def tokens(model: Recognizer, spec: Tiny, **changes: object) -> list[list[int]]:
    wanted = options_for(spec, **changes)
    requests = [WindowRequest(i, clip, wanted) for i, clip in enumerate(reference.clips(spec))]
    results = decode(model, requests)
    return [list(results[i].tokens) for i in range(len(requests))]


@pytest.mark.parametrize("spec", reference.SPECS, ids=IDS)
def test_float32_tokens_equal_transformers(tmp_path: Path, spec: Tiny) -> None:
    model = bundle(tmp_path, spec)
    assert model.info.window == spec.window
    assert tokens(model, spec) == EXPECTED[str(spec.seed)]["tokens"]


@pytest.mark.parametrize("spec", reference.SPECS, ids=IDS)
def test_float32_logits_equal_transformers_with_true_padding(tmp_path: Path, spec: Tiny) -> None:
    model = bundle(tmp_path, spec)
    prompt, clip = EXPECTED[str(spec.seed)]["prompt"], reference.clips(spec)[0]
    logits = prompt_logits(model, prompt, clip)
    assert np.abs(logits[::7] - EXPECTED[str(spec.seed)]["logits"]).max() < 1e-3


def prompt_logits(model: Recognizer, prompt: list[int], clip: np.ndarray) -> np.ndarray:
    """Logits behind the prompt, fed at once and, as a check of the cache, token by token."""
    engine = model._engine  # type: ignore[attr-defined]
    feed = model._feed  # type: ignore[attr-defined]
    feed.put(None, clip, whole=True)
    engine.buffers.put(0, feed.take().heard)
    once = engine.reader.stepper.prefill(0, prompt)["states"]
    for at, token in enumerate(prompt):
        scores = engine.reader.step([token], [at])
    stepped = scores.rows()[0]
    states = engine.reader._vocabulary.states
    assert np.abs(once - states[:1]).max() < 1e-3
    states[:1] = once
    assert np.abs(engine.reader._vocabulary.scores(1).rows()[0] - stepped).max() < 1e-3
    return stepped


@pytest.mark.parametrize("spec", [reference.SPECS[i] for i in (1, 6)], ids=["seed2", "seed7"])
def test_int8_tokens_do_not_depend_on_the_batch(tmp_path: Path, spec: Tiny) -> None:
    clips = [reference.audio(1000 + i, 0.5 + (i * 0.7) % spec.window) for i in range(20)]
    wanted = options_for(spec)
    rng = np.random.default_rng(0)
    seen = set()
    for slots in (1, 2, 3, 8, 16):
        model = bundle(tmp_path, spec, "int8", batch_size=slots)
        order = rng.permutation(len(clips))
        results = decode(model, [WindowRequest(int(i), clips[i], wanted) for i in order])
        seen.add(tuple(tuple(results[i].tokens) for i in range(len(clips))))
    assert len(seen) == 1
    assert len({row for rows in seen for row in rows}) > 5  # the windows differ, so a mix-up would show


def test_openai_checkpoint_gives_the_same_bundle(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    spec = reference.SPECS[1]
    folder = source(tmp_path / "hf", spec)
    names = openai_names(weights(spec))
    dims = {
        "n_mels": spec.n_mels, "n_vocab": len(weights(spec)["model.decoder.embed_tokens.weight"]),
        "n_audio_ctx": spec.trained * 50, "n_audio_state": spec.d_model, "n_audio_head": spec.heads,
        "n_audio_layer": spec.encoder_layers, "n_text_ctx": spec.context, "n_text_state": spec.d_model,
        "n_text_head": spec.heads, "n_text_layer": spec.decoder_layers,
    }  # fmt: skip
    state = {name: torch.from_numpy(value) for name, value in names.items()}
    own = tmp_path / "openai"
    own.mkdir()
    for name in ("tokenizer.json", "generation_config.json"):
        (own / name).write_bytes((folder / name).read_bytes())
    torch.save({"dims": dims, "model_state_dict": state}, own / "tiny.pt")
    compile_bundle(own / "tiny.pt", tmp_path / "fp32", window=spec.window, precision="fp32")
    model = load_recognizer(tmp_path / "fp32")
    assert tokens(model, spec) == EXPECTED[str(spec.seed)]["tokens"]


def openai_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    table = [
        ("model.", ""), (".layers.", ".blocks."), ("self_attn_layer_norm", "attn_ln"),
        ("encoder_attn_layer_norm", "cross_attn_ln"), ("final_layer_norm", "mlp_ln"), ("self_attn", "attn"),
        ("encoder_attn", "cross_attn"), ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"),
        ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
        ("embed_positions.weight", "positional_embedding"),
        ("embed_tokens", "token_embedding"), ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
    ]  # fmt: skip
    renamed = {}
    for name, value in state.items():
        for ours, theirs in table:
            name = name.replace(ours, theirs)
        renamed[name] = value
    return renamed


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch pwned",)


def test_a_checkpoint_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"dims": Attack(), "model_state_dict": {}}))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="system"):
        compile_bundle(tmp_path / "evil.pt", tmp_path / "out")
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "out").exists()


def test_nan_in_hidden_states_is_an_error_of_that_window_alone(tmp_path: Path) -> None:
    spec = reference.SPECS[0]
    model = bundle(tmp_path, spec, "int8")
    clips = reference.clips(spec)
    bad = clips[1].copy()
    bad[100] = np.nan
    results = decode(
        model, [WindowRequest(i, c, options_for(spec)) for i, c in enumerate([clips[0], bad, clips[2]])]
    )
    assert results[1].error is not None
    assert results[1].text == ""
    assert results[0].error is None
    assert results[2].tokens


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    spec = reference.SPECS[0]
    bundle(tmp_path, spec, "int8")
    with (tmp_path / "int8" / "decoder.weights").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelError, match=r"decoder\.weights"):
        load_recognizer(tmp_path / "int8")
