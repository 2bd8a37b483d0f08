"""Contents of a model's JSON files: window, languages, sizes and special ids, as its family has them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import broken_values
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.languages import NAMES
from asr_batch.models.qwen3.layout import WINDOW
from asr_batch.models.whisper.compile.weights import read_source
from asr_batch.models.whisper.config import WhisperConfig, read_json


def about_model(folder: Path, kind: str) -> tuple[dict[str, Any], str | None]:
    """Window, sizes and special ids; and problems of the files that contain them."""
    try:
        with broken_values(folder):
            if kind == "qwen3-onnx":
                return _about_qwen3(folder), None
            about = _about_whisper(_config(folder, kind))
            if kind == "bundle":
                about |= _about_bundle(folder)
    except ModelError as error:
        return {}, str(error)
    return about, None


def _config(folder: Path, kind: str) -> WhisperConfig:
    """The model's config; weights of other programs are converted first."""
    if kind not in ("ctranslate2", "openai"):
        return WhisperConfig.from_folder(folder)

    with TemporaryDirectory() as made:
        for name, content in read_source(folder).files.items():
            (Path(made) / name).write_bytes(content)
        return WhisperConfig.from_folder(Path(made))


def _about_whisper(config: WhisperConfig) -> dict[str, Any]:
    return {
        "family": "whisper",
        "window": config.trained_seconds,
        "languages": sorted(config.languages) if config.multilingual else ["en"],
        "multilingual": config.multilingual,
        "sizes": {
            "d_model": config.d_model,
            "encoder_layers": config.encoder_layers,
            "decoder_layers": config.decoder_layers,
            "decoder_heads": config.decoder_heads,
            "n_mels": config.n_mels,
            "vocab_size": config.vocab_size,
            "encoder_positions": config.max_source_positions,
            "decoder_positions": config.max_target_positions,
        },
        "special_ids": {
            "startoftranscript": config.sot,
            "endoftext": config.eot,
            "notimestamps": config.no_timestamps,
            "first_timestamp": config.timestamp_begin,
            "nospeech": config.no_speech,
            "startofprev": config.previous,
            "transcribe": config.transcribe,
            "translate": config.translate,
        },
    }


def _about_qwen3(folder: Path) -> dict[str, Any]:
    config = QwenConfig.from_folder(folder)
    return {
        "family": "qwen3-asr",
        "window": WINDOW,
        "languages": sorted(NAMES),
        "multilingual": True,
        "sizes": {
            "hidden": config.hidden,
            "layers": config.layers,
            "heads": config.heads,
            "kv_heads": config.kv_heads,
            "head_dim": config.head_dim,
            "n_mels": config.n_mels,
            "vocab_size": config.vocab,
        },
        "special_ids": {
            "eos": list(config.eos),
            "im_start": config.im_start,
            "im_end": config.im_end,
            "audio_start": config.audio_start,
            "audio_end": config.audio_end,
            "audio_pad": config.audio_pad,
            "asr_text": config.asr_text,
        },
    }


def _about_bundle(folder: Path) -> dict[str, Any]:
    bundle = read_json(folder / "bundle.json")
    plain = {key: value for key, value in bundle.items() if isinstance(value, (str, int, float, bool))}
    window = bundle.get("window")
    return {"bundle": plain} | ({"window": float(window)} if isinstance(window, (int, float)) else {})
