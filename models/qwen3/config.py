"""Reads config.json: every size and special id that the code uses; nothing is assumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import ModelError

FRAMES_PER_CHUNK = 100
"""Log-mel frames of the encoder's convolution window (1 s): a constant of the layout, not in its config."""

FRONT_END = {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "fmin": 0, "fmax": 8_000}
"""The log-mel settings of the layout (Whisper large-v3's); a config with others is refused."""


@dataclass(frozen=True, slots=True)
class QwenConfig:
    """Sizes and ids of one model, all from its config.json.

    `hidden` is the width of the decoder and of audio features; `embed_bytes` is the size of a value in
    embed_tokens.bin, 2 (float16) or 4 (float32); `eos` are the ids that end a transcript.
    """

    n_mels: int
    conv_channels: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    rope_theta: float
    norm_eps: float
    embed_bytes: int
    eos: tuple[int, ...]
    im_start: int
    im_end: int
    audio_start: int
    audio_end: int
    audio_pad: int
    asr_text: int | None

    @classmethod
    def from_folder(cls, folder: Path) -> QwenConfig:
        """Read `folder`/config.json. Raises ModelError with the key that is missing or wrong."""
        reader = _Reader.open(folder / "config.json")
        _check_front_end(reader)
        ids = reader.section("special_tokens")
        decoder = reader.section("decoder")
        config = cls(
            n_mels=reader.section("encoder").number("num_mel_bins", 128),
            conv_channels=reader.section("encoder").number("conv_channels", 480),
            layers=decoder.number("num_layers"),
            hidden=decoder.number("hidden_size"),
            heads=decoder.number("num_attention_heads"),
            kv_heads=decoder.number("num_key_value_heads"),
            head_dim=decoder.number("head_dim"),
            vocab=decoder.number("vocab_size"),
            rope_theta=decoder.real("rope_theta"),
            norm_eps=decoder.real("rms_norm_eps"),
            embed_bytes=_embed_bytes(reader),
            eos=ids.ids("eos_token_ids"),
            im_start=ids.number("im_start_token_id"),
            im_end=ids.number("im_end_token_id"),
            audio_start=ids.number("audio_start_token_id"),
            audio_end=ids.number("audio_end_token_id"),
            audio_pad=ids.number("audio_pad_token_id"),
            asr_text=ids.optional("asr_text_token_id"),
        )
        _check_ids(reader, config)
        _check_widths(reader, config)
        return config

    @property
    def embed_size(self) -> int:
        """Bytes that embed_tokens.bin must have."""
        return self.vocab * self.hidden * self.embed_bytes

    @property
    def kv_bytes(self) -> int:
        """Bytes of one position's keys and values over all layers, float32."""
        return 2 * 4 * self.layers * self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class _Reader:
    """One object of config.json, and where it is, for error messages."""

    where: str
    data: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> _Reader:
        try:
            data = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{path}: cannot be read as JSON ({error}); expected the layout's config"
            ) from error
        if not isinstance(data, dict):
            raise ModelError(f"{path}: holds {type(data).__name__}, expected an object")
        return cls(str(path), data)

    def section(self, key: str) -> _Reader:
        value = self.data.get(key)
        if not isinstance(value, dict):
            raise ModelError(
                f"{self.where}: section {key!r} is missing; expected an object with sizes or ids"
            )
        return _Reader(f"{self.where}: {key}", value)

    def number(self, key: str, default: int | None = None) -> int:
        value = self.data.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ModelError(f"{self.where}: {key} is {value!r}, expected a whole number")
        return value

    def real(self, key: str) -> float:
        value = self.data.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise ModelError(f"{self.where}: {key} is {value!r}, expected a number above 0")
        return float(value)

    def optional(self, key: str) -> int | None:
        return None if self.data.get(key) is None else self.number(key)

    def ids(self, key: str) -> tuple[int, ...]:
        value = self.data.get(key)
        values = [value] if isinstance(value, int) else value
        if not isinstance(values, list) or not values or not all(isinstance(one, int) for one in values):
            raise ModelError(f"{self.where}: {key} is {value!r}, expected a list of token ids")
        return tuple(values)


def _check_front_end(reader: _Reader) -> None:
    mel = reader.data.get("mel", {})
    for key, right in FRONT_END.items():
        found = mel.get(key, right) if isinstance(mel, dict) else mel
        if found != right:
            raise ModelError(f"{reader.where}: mel {key} is {found!r}, expected {right}")


def _embed_bytes(reader: _Reader) -> int:
    kind = reader.data.get("embed_tokens_dtype", "float32")
    sizes = {"float16": 2, "float32": 4}
    if kind not in sizes:
        raise ModelError(f"{reader.where}: embed_tokens_dtype is {kind!r}, expected float16 or float32")
    return sizes[kind]


def _check_ids(reader: _Reader, config: QwenConfig) -> None:
    named = {
        "im_start": config.im_start,
        "im_end": config.im_end,
        "audio_start": config.audio_start,
        "audio_end": config.audio_end,
        "audio_pad": config.audio_pad,
        "asr_text": config.asr_text or 0,
        **{f"eos_token_ids[{place}]": one for place, one in enumerate(config.eos)},
    }
    for name, value in named.items():
        if not 0 <= value < config.vocab:
            raise ModelError(f"{reader.where}: {name} is {value}, outside the vocabulary of {config.vocab}")


def _check_widths(reader: _Reader, config: QwenConfig) -> None:
    output = reader.section("encoder").number("output_dim", config.hidden)
    if output != config.hidden:
        raise ModelError(
            f"{reader.where}: encoder output_dim is {output} and decoder hidden_size {config.hidden}; "
            "they must be equal"
        )
    if not config.kv_heads or config.heads % config.kv_heads:
        raise ModelError(
            f"{reader.where}: {config.heads} attention heads are not a multiple of "
            f"{config.kv_heads} key-value heads"
        )
