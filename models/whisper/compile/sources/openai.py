"""Reads OpenAI's checkpoints with Hugging Face's names, and makes a config.json from their sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.whisper.compile.sources.checkpoint import read_checkpoint
from asr_batch.models.whisper.compile.sources.heads import published_heads
from asr_batch.models.whisper.compile.sources.vocabularies import text_files
from asr_batch.models.whisper.config import read_text_files

_OPENAI_NAMES = (
    (r"\.blocks\.", ".layers."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"\.cross_attn_ln\.", ".encoder_attn_layer_norm."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.attn\.", ".self_attn."),
    (r"\.query\.", ".q_proj."),
    (r"\.key\.", ".k_proj."),
    (r"\.value\.", ".v_proj."),
    (r"\.out\.", ".out_proj."),
    (r"^encoder\.ln_post\.", "encoder.layer_norm."),
    (r"^decoder\.ln\.", "decoder.layer_norm."),
    (r"\.positional_embedding$", ".embed_positions.weight"),
    (r"^decoder\.token_embedding\.", "decoder.embed_tokens."),
)


def hugging_face_name(openai: str) -> str:
    """The Hugging Face name of the tensor `openai` of an OpenAI checkpoint."""
    for pattern, replacement in _OPENAI_NAMES:
        openai = re.sub(pattern, replacement, openai)
    return openai


def read_openai(path: Path) -> tuple[Mapping[str, NDArray[Any]], dict[str, bytes]]:
    """Tensors by Hugging Face's names, and the text files of a Hugging Face folder. Raises ModelError."""
    dims, state = read_checkpoint(path)
    tensors = {hugging_face_name(name): value for name, value in state.items()}
    given = {k: v for k, v in read_text_files(path.parent).items() if k != "preprocessor_config.json"}
    files = (text_files(dims.get("n_vocab", 0)) or {}) | given
    if "tokenizer.json" not in files and "vocab.json" not in files:
        raise ModelError(
            f"{path}: a vocabulary of {dims.get('n_vocab')} tokens is none of OpenAI's; put tokenizer.json "
            "of the same model beside the checkpoint"
        )
    files["config.json"] = json.dumps(_config(path, dims), indent=1).encode()
    return tensors, files


def _config(path: Path, dims: Mapping[str, int]) -> dict[str, Any]:
    """config.json for a checkpoint's `dims`; special ids follow from the tokenizer's added tokens."""
    try:
        if dims["n_audio_state"] != dims["n_text_state"]:
            raise ModelError(f"{path}: encoder and decoder have different widths: {dict(dims)}")
        width = dims["n_text_state"]
        return {
            "model_type": "whisper",
            "d_model": width,
            "encoder_layers": dims["n_audio_layer"],
            "encoder_attention_heads": dims["n_audio_head"],
            "decoder_layers": dims["n_text_layer"],
            "decoder_attention_heads": dims["n_text_head"],
            "encoder_ffn_dim": 4 * width,
            "decoder_ffn_dim": 4 * width,
            "num_mel_bins": dims["n_mels"],
            "vocab_size": dims["n_vocab"],
            "max_source_positions": dims["n_audio_ctx"],
            "max_target_positions": dims["n_text_ctx"],
            "alignment_heads": published_heads(dims, path.stem),
        }
    except KeyError as error:
        raise ModelError(f"{path}: dims lack {error}; found {sorted(dims)}") from error
