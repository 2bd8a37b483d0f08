"""What goes before a window's text: terms that fit, then the prompt's end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asr_batch.models.recognizer import DecodeOptions
from asr_batch.models.store.names import bundled_path
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.tokenizer import WhisperTokenizer, prompt_ids


@pytest.fixture(scope="module")
def model():
    path = bundled_path("nano.en")
    config = WhisperConfig.from_folder(path)
    return replace(config, max_target_positions=448), WhisperTokenizer(path, config)


def context(model, **options) -> str:
    config, tokenizer = model
    ids = prompt_ids(config, tokenizer, DecodeOptions(**options))
    ids = ids[: ids.index(config.sot)]
    if not ids:
        return ""
    assert ids[0] == config.previous
    assert len(ids) <= config.max_target_positions // 2
    return tokenizer.decode(ids[1:])


def test_nothing_asked_nothing_told(model):
    assert context(model) == context(model, prompt=" ") == ""


def test_terms_stand_before_the_prompt(model):
    found = context(model, prompt="A talk.", glossary=("Anna Kern", "Oslo"))
    assert found.strip() == "Anna Kern, Oslo. A talk."


def test_as_many_terms_as_fit_the_weightiest_first(model):
    terms = tuple(f"Term{number}" for number in range(400))
    found = context(model, glossary=terms).strip()
    names = found.rstrip(",").split(", ")
    assert names == list(terms[: len(names)])
    assert 20 < len(names) < 223


def test_the_prompt_goes_before_terms_where_room_is_short(model):
    found = context(model, prompt="word " * 500, glossary=("Anna",))
    assert "Anna" not in found
    assert found.count("word") > 100
