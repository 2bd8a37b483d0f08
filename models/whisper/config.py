"""Reads a Whisper model's JSON files: sizes, special token ids, suppressed ids, languages.

Nothing is assumed about a particular size: every number comes from `config.json`, `generation_config.json`,
`preprocessor_config.json` and `tokenizer.json` as `transformers` writes them. A value missing from one file
is taken from the next, in the order of `transformers.generate`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import broken_values

TEXT_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "normalizer.json",
)
"""The small files beside the weights, which a bundle copies and the store downloads if they exist."""

VOCABULARIES = {51864: False, 51865: True, 51866: True}
"""Sizes of OpenAI's vocabularies, and whether they are multilingual, which the tokenizer files do not say."""

INITIAL_TIMESTAMP = {"max_initial_timestamp_index": 50}
"""A second: what openai/whisper, faster-whisper and every published generation_config.json have."""

_MAX_JSON = 64 << 20  # the tokenizer.json of large-v3 has 2.5 MB
_HEAD = 1 << 20  # characters in which the special tokens stand
_ADDED = re.compile(r'"added_tokens"\s*:\s*')
_MOST_WIDE = 1 << 20
_MOST = {
    "encoder_layers": 256,
    "decoder_layers": 256,
    "encoder_heads": 256,
    "decoder_heads": 256,
    "n_mels": 1024,
    "max_source_positions": 1 << 13,
    "max_target_positions": 1 << 13,
}
"""Largest accepted sizes: far above any Whisper (32 layers, 20 heads, 1500 and 448 positions), but so small
that buffers of these sizes fit into memory."""
_LANGUAGE = re.compile(r"<\|([a-z]{2,3}|jw|yue)\|>")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises ModelError when it is missing, too large or not an object."""
    if not path.is_file():
        raise ModelError(f"{path}: missing from the Whisper model folder")
    if path.stat().st_size > _MAX_JSON:
        raise ModelError(f"{path}: {path.stat().st_size} bytes; expected at most {_MAX_JSON}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds a {type(value).__name__}; expected a JSON object")
    return value


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def read_text_files(folder: Path) -> dict[str, bytes]:
    """The content of the small files that `folder` has, by name."""
    return {name: (folder / name).read_bytes() for name in TEXT_FILES if (folder / name).is_file()}


@dataclass(frozen=True, slots=True)
class WhisperConfig:
    """Sizes and ids of one Whisper model.

    `max_source_positions` are the encoder positions the decoder was trained on (50 a second),
    `max_target_positions` the decoder's context in tokens. `languages` maps a code (`en`) to its token.
    `suppress` and `begin_suppress` are the ids that generation_config suppresses always and as first token.
    `alignment_heads` are (layer, head) pairs whose cross-attention follows the audio, if the model has them.
    """

    d_model: int
    encoder_layers: int
    encoder_heads: int
    decoder_layers: int
    decoder_heads: int
    encoder_ffn: int
    decoder_ffn: int
    n_mels: int
    vocab_size: int
    max_source_positions: int
    max_target_positions: int
    sot: int
    eot: int
    no_timestamps: int | None
    no_speech: int | None
    previous: int | None
    transcribe: int | None
    translate: int | None
    languages: Mapping[str, int]
    multilingual: bool
    suppress: tuple[int, ...]
    begin_suppress: tuple[int, ...]
    max_initial_timestamp: int | None
    alignment_heads: tuple[tuple[int, int], ...]
    median_filter_width: int
    nb_max_frames: int | None
    scale_embedding: bool = False

    @property
    def head_dim(self) -> int:
        """Width of one decoder head."""
        return self.d_model // self.decoder_heads

    @property
    def timestamp_begin(self) -> int | None:
        """Id of `<|0.00|>`; None for a vocabulary without timestamps."""
        first = None if self.no_timestamps is None else self.no_timestamps + 1
        return first if first is not None and first < self.vocab_size else None

    @property
    def trained_seconds(self) -> float:
        """Seconds of audio that the encoder was trained on."""
        return self.max_source_positions / 50.0

    def codes(self, among: Collection[str] = ()) -> list[str]:
        """The languages that the model knows, in order of their codes, of those `among` (empty: any)."""
        return sorted(self.languages.keys() & among if among else self.languages)

    @classmethod
    def from_folder(cls, folder: Path) -> WhisperConfig:
        """Read the JSON files of `folder`. Raises ModelError with file, key and what was expected."""
        with broken_values(folder):
            return cls._read(folder)

    @classmethod
    def _read(cls, folder: Path) -> WhisperConfig:
        config = read_json(folder / "config.json")
        if config.get("model_type", "whisper") != "whisper":
            raise ModelError(
                f"{folder / 'config.json'}: model_type is {config['model_type']!r}, not 'whisper'"
            )
        generation = _optional_json(folder / "generation_config.json") or config
        sizes = _sizes(folder / "config.json", config)
        ids = _ids(folder, config, generation, _added_tokens(folder))
        _check_ids(folder, ids, sizes["vocab_size"])
        return cls(
            **sizes,
            **ids,
            nb_max_frames=_optional_json(folder / "preprocessor_config.json").get("nb_max_frames"),
            median_filter_width=int(config.get("median_filter_width") or 7),
            scale_embedding=bool(config.get("scale_embedding", False)),
        )


def _sizes(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    keys = {
        "d_model": "d_model",
        "encoder_layers": "encoder_layers",
        "encoder_heads": "encoder_attention_heads",
        "decoder_layers": "decoder_layers",
        "decoder_heads": "decoder_attention_heads",
        "encoder_ffn": "encoder_ffn_dim",
        "decoder_ffn": "decoder_ffn_dim",
        "n_mels": "num_mel_bins",
        "vocab_size": "vocab_size",
        "max_source_positions": "max_source_positions",
        "max_target_positions": "max_target_positions",
    }
    sizes: dict[str, Any] = {}
    for name, key in keys.items():
        value, most = config.get(key), _MOST.get(name, _MOST_WIDE)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            raise ModelError(f"{path}: {key} is {value!r}; expected a whole number from 1 to {most}")
        sizes[name] = value
    for heads in ("encoder_heads", "decoder_heads"):
        if sizes["d_model"] % sizes[heads]:
            raise ModelError(f"{path}: d_model {sizes['d_model']} is not a multiple of {sizes[heads]} heads")
    return sizes


def _added_tokens(folder: Path) -> dict[str, int]:
    """Special tokens by content, from tokenizer.json or added_tokens.json ({} without either)."""
    tokens = {str(token["content"]): int(token["id"]) for token in _listed_tokens(folder / "tokenizer.json")}
    return tokens or {str(k): int(v) for k, v in _optional_json(folder / "added_tokens.json").items()}


def _listed_tokens(path: Path) -> list[dict[str, Any]]:
    """`added_tokens` of a tokenizer.json, which stand before its megabytes of vocabulary ([] without any)."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as stream:
        head = stream.read(_HEAD)
    place = _ADDED.search(head)
    with suppress(ValueError):
        found = json.JSONDecoder().raw_decode(head, place.end())[0] if place else None
        if (
            isinstance(found, list)
            and found
            and all(isinstance(one, dict) and {"content", "id"} <= one.keys() for one in found)
        ):
            return found
    return list(read_json(path).get("added_tokens", []))


def _ids(
    folder: Path, config: Mapping[str, Any], generation: Mapping[str, Any], added: Mapping[str, int]
) -> dict[str, Any]:
    def first(key: str, token: str) -> int | None:
        found = generation.get(key, config.get(key))
        found = found[0] if isinstance(found, list) and found else found
        return added.get(token) if found is None else int(found)

    eot = first("eos_token_id", "<|endoftext|>")
    sot = first("decoder_start_token_id", "<|startoftranscript|>")
    if eot is None or sot is None:
        raise ModelError(f"{folder}: no decoder_start_token_id and eos_token_id in config or tokenizer")
    languages = _languages(generation, added)
    tasks = generation.get("task_to_id") or {}
    no_timestamps = first("no_timestamps_token_id", "<|notimestamps|>")
    return {
        "sot": sot,
        "eot": eot,
        "no_timestamps": no_timestamps if no_timestamps is not None else _forced_last(generation),
        "no_speech": added.get("<|nospeech|>", added.get("<|nocaptions|>")),
        "previous": first("prev_sot_token_id", "<|startofprev|>"),
        "transcribe": tasks.get("transcribe", added.get("<|transcribe|>")),
        "translate": tasks.get("translate", added.get("<|translate|>")),
        "languages": languages,
        "multilingual": bool(generation.get("is_multilingual", len(languages) > 1)),
        "suppress": tuple(generation.get("suppress_tokens") or ()),
        "begin_suppress": tuple(generation.get("begin_suppress_tokens") or ()),
        "max_initial_timestamp": generation.get("max_initial_timestamp_index"),
        "alignment_heads": tuple((int(a), int(b)) for a, b in generation.get("alignment_heads") or ()),
    }


def _check_ids(folder: Path, ids: dict[str, Any], vocab: int) -> None:
    """Check that every id fed to a graph or used as index is in the vocabulary; drop suppressed others."""
    named = {name: ids[name] for name in ("sot", "eot", "no_timestamps", "no_speech", "previous")}
    named |= {name: ids[name] for name in ("transcribe", "translate")} | ids["languages"]
    for name, number in named.items():
        if number is not None and not 0 <= int(number) < vocab:
            raise ModelError(
                f"{folder}: the id of {name} is {number}, outside the vocabulary of {vocab}; the files "
                "belong to different models"
            )
    for name in ("suppress", "begin_suppress"):
        ids[name] = tuple(int(number) for number in ids[name] if 0 <= int(number) < vocab)


def _languages(generation: Mapping[str, Any], added: Mapping[str, int]) -> dict[str, int]:
    named = generation.get("lang_to_id") or {
        token: number for token, number in added.items() if _LANGUAGE.fullmatch(token)
    }
    return {str(token).strip("<|>"): int(number) for token, number in named.items()}


def _forced_last(generation: Mapping[str, Any]) -> int | None:
    """`<|notimestamps|>` from an old English-only config, which forces it as the first token."""
    forced = generation.get("forced_decoder_ids") or []
    return int(forced[-1][1]) if forced and forced[-1][1] is not None else None
