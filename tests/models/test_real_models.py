"""Real Whisper weights: what only they can show. Skipped where `make real-models` could not get them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, WindowRequest
from asr_batch.models.store.store import Store
from asr_batch.models.whisper.compile.sources.merges import merges_of
from asr_batch.models.whisper.compile.sources.vocabularies import text_files
from asr_batch.models.whisper.compile.weights import read_source
from asr_batch.pipeline.audio.reader import read_samples

CLIP = Path(__file__).resolve().parents[1] / "data" / "audio" / "dev-0001.flac"


@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_merges_follow_from_the_vocabulary(real_models: Store, name: str) -> None:
    """All of OpenAI's 50,000; Hugging Face's file of the multilingual ones lacks the first."""
    model = json.loads((real_models.weights(name) / "tokenizer.json").read_text())["model"]
    stored = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    ranks = {token: rank for token, rank in model["vocab"].items() if token and token != "<|endoftext|>"}
    found = [" ".join(pair) for pair in merges_of(ranks)]
    assert len(found) == 50_000
    assert found[-len(stored) :] == stored


@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_weights_are_whole(real_models: Store, name: str) -> None:
    source = read_source(real_models.weights(name))
    assert all(np.isfinite(np.asarray(source.tensors[tensor])).all() for tensor in source.tensors)
    assert source.get("encoder.conv1.weight", {"tiny.en": 384, "base": 512}[name], 80, 3).any()


@pytest.mark.parametrize(("name", "language"), [("tiny.en", None), ("base", "en")])
def test_a_clip_becomes_its_words(real_models: Store, name: str, language: str | None) -> None:
    recognizer = load_recognizer(real_models.resolve(name))
    samples = read_samples(CLIP, 0.0, 10.0)
    recognizer.submit(WindowRequest("clip", samples, DecodeOptions(language=language)))
    while not (results := recognizer.poll()):
        pass
    recognizer.close()
    assert not results[0].error
    assert "in the heavy castle, please." in results[0].text


@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_the_packaged_vocabulary_is_the_models_own(real_models: Store, name: str) -> None:
    own = read_source(real_models.weights(name)).files
    size = json.loads(own["config.json"])["vocab_size"]
    packaged = text_files(size)
    assert packaged
    ours, theirs = (json.loads(files["tokenizer.json"]) for files in (packaged, own))
    kept = {token: i for token, i in theirs["model"]["vocab"].items() if token in ours["model"]["vocab"]}
    assert ours["model"]["vocab"] == kept
    names = {"<|nospeech|>": "<|nocaptions|>", "<|iw|>": "<|he|>"}  # two spellings
    special = [
        {
            names.get(one["content"], one["content"]): one["id"]
            for one in side["added_tokens"]
            if one["content"]
        }
        for side in (ours, theirs)
    ]
    assert special[0] == special[1]
    one, other = (json.loads(files["generation_config.json"]) for files in (packaged, own))
    for key in ("suppress_tokens", "begin_suppress_tokens", "is_multilingual"):
        assert one[key] == other[key]
