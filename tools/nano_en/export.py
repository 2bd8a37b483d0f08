"""Writes weights as a Hugging Face folder like those of OpenAI's Whisper checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from transformers import GenerationConfig, WhisperFeatureExtractor

from nano_en import network as net

END = "<|endoftext|>"


def export(weights: Path, tokenizer_file: Path, folder: Path) -> None:
    """Write configs, weights (safetensors), tokenizer and feature extractor to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    model = net.load(weights, tokenizer).whisper.eval()
    model.generation_config = GenerationConfig(
        bos_token_id=net.EOT,
        eos_token_id=net.EOT,
        pad_token_id=net.EOT,
        decoder_start_token_id=net.SOT,
        max_length=448,
        begin_suppress_tokens=[tokenizer.encode(" ").ids[0], net.EOT],
        suppress_tokens=list(range(net.SOT, net.NO_SPEECH + 1)),
        no_timestamps_token_id=net.NO_TIMESTAMPS,
        prev_sot_token_id=net.PREV,
        is_multilingual=False,
        max_initial_timestamp_index=50,
        return_timestamps=False,
        forced_decoder_ids=[[1, net.NO_TIMESTAMPS]],
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80, chunk_length=30).save_pretrained(folder)
    _write_tokenizer(tokenizer, tokenizer_file, folder)
    print(f"{folder}: {sum(p.numel() for p in model.parameters()):,} parameters")


def _write_tokenizer(tokenizer: Tokenizer, source: Path, folder: Path) -> None:
    """Write the tokenizer in all forms that readers of Whisper folders expect."""
    times = [f"<|{i * 0.02:.2f}|>" for i in range(net.TIMES)]
    added = {name: net.TEXT_TOKENS + i for i, name in enumerate((*net.SPECIALS, *times))}
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in net.SPECIALS])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in times])
    wrong = [name for name, number in added.items() if tokenizer.token_to_id(name) != number]
    if wrong:
        raise ValueError(f"tokens at a wrong index of the vocabulary: {wrong[:5]}")
    tokenizer.save(str(folder / "tokenizer.json"))
    model = json.loads(source.read_text(encoding="utf-8"))["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    roles = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), END)
    _write(folder / "vocab.json", model["vocab"])
    _write(folder / "added_tokens.json", added)
    _write(folder / "normalizer.json", {})
    _write(folder / "special_tokens_map.json", roles | {"additional_special_tokens": net.SPECIALS[1:]})
    _write(folder / "tokenizer_config.json", roles | _tokenizer_config(added))


def _tokenizer_config(added: dict[str, int]) -> dict[str, Any]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "tokenizer_class": "WhisperTokenizer",
        "add_prefix_space": False,
        "errors": "replace",
        "model_max_length": 1024,
        "return_attention_mask": False,
        "added_tokens_decoder": {
            str(number): {"content": name, "special": name in net.SPECIALS, **flags}
            for name, number in added.items()
        },
    }


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
