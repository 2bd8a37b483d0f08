"""Published Whisper folders of any size against `transformers`, and against models that do not fit."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import whisper_reference as reference
from tiny_whisper import Tiny, publish
from whisper_bundles import decode, options_for

from asr_batch.manifests.errors import ItemError, ModelError
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import (
    DecodeOptions,
    LoadOptions,
    Recognizer,
    TimedText,
    WindowRequest,
)
from asr_batch.models.whisper.alignment import alignment_heads
from asr_batch.models.whisper.tokenizer import prompt_ids

EXPECTED = json.loads(reference.STORE.read_text())
PLAIN = DecodeOptions(plain=True, max_new_tokens=reference.CAP)


def as_published(spec: Tiny) -> Tiny:
    """With an encoder graph for the length that the model was trained on."""
    return replace(spec, window=spec.trained)


def all_clips(model: Recognizer, spec: Tiny) -> list[list[int]]:
    requests = [WindowRequest(i, clip, options_for(spec)) for i, clip in enumerate(reference.clips(spec))]
    results = decode(model, requests)
    return [list(results[i].tokens) for i in range(len(requests))]


@pytest.mark.parametrize("layout", ["merged", "split"])
@pytest.mark.parametrize("spec", reference.SPECS, ids=lambda s: f"seed{s.seed}")
def test_greedy_tokens_equal_transformers(tmp_path: Path, spec: Tiny, layout: str) -> None:
    publish(tmp_path, as_published(spec), layout, flat=layout == "split")
    model = load_recognizer(tmp_path, LoadOptions(window=spec.window))
    assert model.info.window == spec.window
    assert all_clips(model, spec) == EXPECTED[str(spec.seed)]["tokens"]


@pytest.mark.parametrize("spec", reference.SPECS, ids=lambda s: f"seed{s.seed}")
def test_logits_equal_transformers(tmp_path: Path, spec: Tiny) -> None:
    publish(tmp_path, as_published(spec))
    model = load_recognizer(tmp_path)
    prompt = np.array([EXPECTED[str(spec.seed)]["prompt"]])
    logits, _ = model._decoder.prefill(prompt, model._encode(reference.clips(spec)[:1]))  # type: ignore[attr-defined]
    assert np.abs(logits[0, -1, ::7] - EXPECTED[str(spec.seed)]["logits"]).max() < 1e-3


def test_behind_a_short_encoder_stands_what_it_makes_of_silence(tmp_path: Path) -> None:
    spec = reference.SPECS[6]
    publish(tmp_path, spec)
    model = load_recognizer(tmp_path)
    assert (model.info.window, spec.trained) == (10, 30)
    clips = [reference.audio(1, 10.0), reference.audio(2, 2.0)]
    hidden = model._encode(clips)  # type: ignore[attr-defined]
    assert hidden.shape == (2, 1500, spec.d_model)
    rest = hidden[:, 500:]
    assert (rest == rest[:1, :1]).all()
    # Behind other audio the same encoder makes nearly the same of silence, and something else of sound.
    own, speech = hidden[1, 300:500].mean(axis=0), hidden[0, :500].mean(axis=0)
    assert np.abs(rest[0, 0] - own).mean() < np.abs(rest[0, 0] - speech).mean() / 2


@pytest.mark.parametrize("spec", reference.SPECS, ids=lambda s: f"seed{s.seed}")
def test_stored_reference_is_what_transformers_says(spec: Tiny) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    live, stored = reference.reference(spec), EXPECTED[str(spec.seed)]
    assert live["tokens"] == stored["tokens"]
    assert live["prompt"] == stored["prompt"]
    assert np.allclose(live["logits"], stored["logits"], atol=1e-3)


def test_where_each_step_listened_is_what_a_run_over_the_whole_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Tiny(seed=21, decoder_layers=2)
    publish(tmp_path, spec, "split", attentions=True)
    told: dict[int, tuple[list[np.ndarray], list[int]]] = {}

    def keep(listened: list[np.ndarray], tokens: list[int], _: object, samples: int) -> tuple:
        told[samples] = ([row.copy() for row in listened], list(tokens))
        return (TimedText(0.0, 1.0, "kept"),)

    monkeypatch.setattr("asr_batch.models.whisper.outcome.word_places", keep)
    model = load_recognizer(tmp_path)
    rng = np.random.default_rng(4)
    clips = [rng.normal(0, 0.1, size).astype(np.float32) for size in (40_000, 90_000, 140_000)]
    requests = [
        WindowRequest(i, clip, options_for(spec, plain=False, max_new_tokens=4 + 3 * i))
        for i, clip in enumerate(clips)
    ]
    results = decode(model, requests)
    assert all(result.places == (TimedText(0.0, 1.0, "kept"),) for result in results.values())
    assert decode(model, [WindowRequest(9, clips[0], PLAIN)])[9].places == ()
    config = model._config  # type: ignore[attr-defined]
    start = prompt_ids(config, model._tokenizer, requests[0].options)  # type: ignore[attr-defined]
    for clip in clips:
        listened, tokens = told[len(clip)]
        ids = np.array([[*start, *tokens]], np.int64)
        whole = model._decoder.attention(ids, model._encode([clip]), alignment_heads(config))  # type: ignore[attr-defined]
        mean = whole.mean(axis=0)[len(start) - 1 :][: len(listened)]
        grouped = np.pad(mean, ((0, 0), (0, -mean.shape[1] % 4))).reshape(len(mean), -1, 4).sum(axis=2)
        assert np.allclose(np.stack(listened), grouped, atol=1e-5)
    assert len(told) == len(clips)


def test_a_folder_without_attentions_tells_no_places(tmp_path: Path) -> None:
    spec = reference.SPECS[0]
    publish(tmp_path, spec)
    result = decode(
        load_recognizer(tmp_path),
        [WindowRequest(0, reference.clips(spec)[0], options_for(spec, plain=False))],
    )
    assert result[0].tokens
    assert result[0].places == ()


def test_prompts_of_unequal_length_share_a_queue(tmp_path: Path) -> None:
    spec = reference.SPECS[0]
    publish(tmp_path, spec)
    clips = reference.clips(spec)
    prompts = [None, "ha", "he said", "a much longer context than the others"]
    requests = [
        WindowRequest(i, clip, options_for(spec, prompt=prompt))
        for i, (clip, prompt) in enumerate(zip(clips, prompts, strict=True))
    ]
    together = decode(load_recognizer(tmp_path), requests)
    alone = {r.key: decode(load_recognizer(tmp_path), [r])[r.key] for r in requests}
    assert {k: r.tokens for k, r in together.items()} == {k: r.tokens for k, r in alone.items()}
    assert len({r.tokens for r in together.values()}) == 4


def test_language_is_known_and_detected(tmp_path: Path) -> None:
    spec = reference.SPECS[4]
    publish(tmp_path, spec)
    model = load_recognizer(tmp_path)
    clip = reference.clips(spec)[0]
    with pytest.raises(ItemError, match="'xx' is unknown to the model; it knows de, en, fr"):
        model.submit(WindowRequest(0, clip, DecodeOptions(language="xx")))
    found = model.detect_language([clip])[0]
    assert set(found) == {"de", "en", "fr"}
    assert math.isclose(sum(found.values()), 1.0, rel_tol=1e-6)
    translated = decode(model, [WindowRequest(0, clip, options_for(spec, task="translate"))])[0]
    transcribed = decode(model, [WindowRequest(0, clip, options_for(spec))])[0]
    assert translated.tokens != transcribed.tokens


def test_files_by_precision(tmp_path: Path) -> None:
    publish(tmp_path, reference.SPECS[0])
    encoder = tmp_path / "onnx" / "encoder_model.onnx"
    assert load_recognizer(tmp_path).info.precision == "fp32"
    with pytest.raises(ModelError, match="precision int8 needs encoder_model and decoder_model_merged"):
        load_recognizer(tmp_path, LoadOptions(precision="int8"))
    encoder.rename(encoder.with_name("encoder_model_quantized.onnx"))
    mixed = load_recognizer(tmp_path)
    assert mixed.info.precision == "mixed"
    assert mixed.info.batch == 1


def test_graph_that_does_not_fit_names_the_tensors(tmp_path: Path) -> None:
    publish(tmp_path / "a", reference.SPECS[0])
    publish(tmp_path / "b", reference.SPECS[1])
    shutil.copy(tmp_path / "b/onnx/decoder_model_merged.onnx", tmp_path / "a/onnx/decoder_model_merged.onnx")
    with pytest.raises(ModelError) as caught:
        load_recognizer(tmp_path / "a")
    message = str(caught.value)
    assert "past_key_values.0.decoder.key: expected tensor(float) [?, 2, ?, 16]" in message
    assert "found tensor(float) [batch_size, 3," in message


def test_input_that_nothing_feeds_is_named(tmp_path: Path) -> None:
    publish(tmp_path, reference.SPECS[0])
    path = tmp_path / "onnx/encoder_model.onnx"
    graph = onnx.load(path)
    graph.graph.input.append(onnx.helper.make_tensor_value_info("dither", onnx.TensorProto.FLOAT, [1]))
    onnx.save(graph, path)
    with pytest.raises(ModelError, match="dither: unexpected input"):
        load_recognizer(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("d_model", None, "d_model is None"),
        ("d_model", 33, "not a multiple of 2 heads"),
        ("vocab_size", -1, "vocab_size is -1"),
        ("model_type", "bert", "model_type is 'bert'"),
    ],
)
def test_config_that_cannot_be(tmp_path: Path, key: str, value: object, says: str) -> None:
    publish(tmp_path, reference.SPECS[0])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(ModelError, match=says):
        load_recognizer(tmp_path)


def test_nan_in_the_decoder_is_an_error_not_a_text(tmp_path: Path) -> None:
    spec = reference.SPECS[0]
    publish(tmp_path, spec)
    model = load_recognizer(tmp_path)
    bad = np.full(16000, np.nan, np.float32)
    good = reference.clips(spec)[0]
    results = decode(model, [WindowRequest("bad", bad, PLAIN), WindowRequest("good", good, PLAIN)])
    assert results["bad"].error == "the decoder gave NaN"
    assert results["bad"].text == ""
    assert list(results["good"].tokens) == EXPECTED[str(spec.seed)]["tokens"][0]
