"""The alignment heads of OpenAI's checkpoints, which do not hold them."""

from __future__ import annotations

import json

import pytest

from asr_batch.models.whisper.compile.sources.heads import published_heads

SIZES = [
    (layers, heads, bands, words)
    for layers, heads, bands, vocabularies in (
        (4, 6, 80, (51864, 51865)),
        (6, 8, 80, (51864, 51865)),
        (12, 12, 80, (51864, 51865)),
        (24, 16, 80, (51864, 51865)),
        (32, 20, 80, (51865,)),
        (32, 20, 128, (51866,)),
        (4, 20, 128, (51866,)),
    )
    for words in vocabularies
]


def dims(layers: int, heads: int, bands: int, words: int) -> dict[str, int]:
    return {"n_text_layer": layers, "n_text_head": heads, "n_mels": bands, "n_vocab": words}


@pytest.mark.parametrize("size", SIZES)
def test_every_published_size_has_its_own_heads_in_the_later_layers(size):
    found = published_heads(dims(*size), "renamed")
    assert len({tuple(pair) for pair in found}) == len(found) > 4
    assert all(0 <= layer < size[0] and 0 <= head < size[1] for layer, head in found)
    assert found == sorted(found)
    others = [published_heads(dims(*other), "x") for other in SIZES if other != size]
    assert found not in others


def test_large_v1_is_told_by_its_name_and_other_sizes_have_none():
    assert published_heads(dims(32, 20, 80, 51865), "large-v1")[0] == [9, 19]
    assert published_heads(dims(32, 20, 80, 51865), "large-v2")[0] == [10, 12]
    assert published_heads(dims(2, 4, 80, 51865), "tiny") == []
    assert published_heads(dims(4, 4, 80, 51865), "tiny") == []


def test_they_are_those_of_the_published_generation_configs(real_models):
    for name in ("whisper-tiny.en", "whisper-base"):
        folder = real_models.resolve(name)
        config = json.loads((folder / "config.json").read_text())
        size = (config["decoder_layers"], config["decoder_attention_heads"])
        found = published_heads(dims(*size, config["num_mel_bins"], config["vocab_size"]), name)
        known = json.loads((folder / "generation_config.json").read_text())
        assert found == known["alignment_heads"]
