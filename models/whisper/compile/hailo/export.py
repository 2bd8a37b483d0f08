"""The kit for Hailo's compiler: `asr-batch models compile SRC DST --target hailo8|hailo8l|hailo10h`.

The compiler (Dataflow Compiler, DFC) runs on x86-64 Linux and requires registration with the vendor, so
the kit is written here and compiled there. It has graphs, a calibration set from the user's own audio,
model scripts, `convert.py` and the steps in README.md. `asr-batch models add-hef` adds the resulting HEF
to the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.calibration import packaged_clips, read_recordings
from asr_batch.models.recognizer import Samples
from asr_batch.models.whisper.compile.hailo.calibration import write_calibration, write_decoder_calibration
from asr_batch.models.whisper.compile.hailo.graph import (
    EMBEDDED_NODE,
    END_NODES,
    MEMORY_NODE,
    POSITIONS_NODE,
    vocabulary_borders,
    write_decoder,
    write_encoder,
)
from asr_batch.models.whisper.compile.hailo.texts import CONVERT, decoder_script, encoder_script, readme
from asr_batch.models.whisper.compile.weights import Source, read_source
from asr_batch.models.whisper.config import WhisperConfig

TARGETS = ("hailo8", "hailo8l", "hailo10h")
CALIBRATION_WINDOWS = 4000
"""Windows of audio in the calibration set; Hailo uses about 4000 for tiny, 2048 for base."""

Audio = Iterable[Path | Samples]


def export_kit(
    src: Path, out: Path, window: float, target: str, audio: Audio | None = None, *, decoder: bool = True
) -> None:
    """Write the kit for `target` to folder `out`.

    `audio` for calibration: arrays of mono 16 kHz float32 samples, `.npy` files of them or 16-bit `.wav`
    files at 16 kHz; None uses the packaged clips, which are enough to try the steps and too few for a good
    HEF. Raises ModelError for an unknown target, an impossible window or other audio.
    """
    if target not in TARGETS:
        raise ModelError(f"target {target!r} is not a Hailo chip; expected one of {', '.join(TARGETS)}")
    source = read_source(src)
    out.mkdir(parents=True, exist_ok=True)
    config = _config(source, out)
    frames = _frames(config, window)
    write_encoder(out / "encoder.onnx", source, config, frames)
    windows = write_calibration(
        out / "encoder_calibration.npy",
        packaged_clips() if audio is None else read_recordings(audio),
        config.n_mels,
        frames,
        CALIBRATION_WINDOWS,
    )
    if not windows:
        raise ModelError("the calibration audio has no samples; use files with speech like that of the job")
    facts = _facts(config, target, frames, windows, own_audio=audio is not None)
    if decoder:
        _write_decoder(out, source, config, facts)
    (out / "kit.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (out / "encoder.alls").write_text(encoder_script(config, target, windows), encoding="utf-8")
    (out / "convert.py").write_text(CONVERT, encoding="utf-8")
    (out / "README.md").write_text(readme(facts), encoding="utf-8")


def _config(source: Source, out: Path) -> WhisperConfig:
    """The model's config; for an OpenAI checkpoint, through a temporary folder with the missing files."""
    folder = out / "model"
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "preprocessor_config.json"):
        if name in source.files:
            (folder / name).write_bytes(source.files[name])
    return WhisperConfig.from_folder(folder)


def _frames(config: WhisperConfig, window: float) -> int:
    frames = round(window * 100)
    if abs(frames - window * 100) > 1e-6 or frames % 2 or not 2 <= frames <= 2 * config.max_source_positions:
        raise ModelError(
            f"a window of {window:g} s is impossible for this model; expected a multiple of 0.02 s up to "
            f"{config.trained_seconds:g} s (tiny: 10, base on Hailo-8: 5)"
        )
    return frames


def decoder_tokens(config: WhisperConfig, target: str) -> int:
    """Length of the fixed decoder, as in Hailo's: 32 for tiny, 24 for base, 64 for base on a Hailo-10H."""
    if config.d_model <= 384:
        return min(32, config.max_target_positions)
    return min(64 if target == "hailo10h" else 24, config.max_target_positions)


def _facts(
    config: WhisperConfig, target: str, frames: int, windows: int, *, own_audio: bool
) -> dict[str, Any]:
    return {
        "target": target,
        "window": frames / 100,
        "n_mels": config.n_mels,
        "frames": frames,
        "positions": frames // 2,
        "width": config.d_model,
        "vocabulary": config.vocab_size,
        "vocabulary_borders": vocabulary_borders(config.vocab_size),
        "tokens": decoder_tokens(config, target),
        "host_adds_positions": target != "hailo10h",
        "decoder_start_nodes": [MEMORY_NODE, EMBEDDED_NODE if target != "hailo10h" else POSITIONS_NODE],
        "decoder_end_nodes": list(END_NODES),
        "calibration_windows": windows,
        "own_audio": own_audio,
    }


def _write_decoder(out: Path, source: Source, config: WhisperConfig, facts: dict[str, Any]) -> None:
    tokens, positions = facts["tokens"], facts["positions"]
    for name, cut in (("decoder.onnx", False), ("decoder_npu.onnx", True)):
        write_decoder(
            out / name,
            source,
            config,
            tokens=tokens,
            positions=positions,
            cut=cut,
            add_positions=not facts["host_adds_positions"],
        )
    width = config.d_model
    table = source.get("decoder.embed_tokens.weight", config.vocab_size, width)
    learned = source.get("decoder.embed_positions.weight", config.max_target_positions, width)[:tokens]
    np.save(out / "token_embedding.npy", table)
    np.save(out / "positions.npy", learned)
    facts["decoder_calibration_windows"] = write_decoder_calibration(out, config, table, learned, facts)
    script = decoder_script(config, facts["decoder_calibration_windows"])
    (out / "decoder.alls").write_text(script, encoding="utf-8")
