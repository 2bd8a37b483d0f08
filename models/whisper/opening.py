"""Opens a compiled bundle: chooses its encoder and describes its capabilities."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Encoder, Float32
from asr_batch.models.features import FRAMES_PER_SECOND
from asr_batch.models.hailo.bundle import HefEntry, Role, add_hef
from asr_batch.models.onnx.options import Cores
from asr_batch.models.recognizer import LoadOptions, ModelInfo
from asr_batch.models.whisper.bundle import Bundle
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.encoder import CpuEncoder


def choose_encoder(
    bundle: Bundle,
    options: LoadOptions,
    cpu: Callable[[], Encoder],
    read: Callable[[Float32], str] | None = None,
) -> Encoder:
    """The NPU's encoder if requested, or with `auto` if the bundle has one; else the CPU's."""
    if not wants_npu(bundle, options):
        return cpu()
    from asr_batch.models.hailo.api import open_encoder  # all of the NPU's modules

    return open_encoder(bundle.folder, cpu, options, read=read)


def wants_npu(bundle: Bundle, options: LoadOptions) -> bool:
    """Whether to use an encoder for the NPU."""
    has_hef = any(bundle.folder.glob("*.hef")) or any(bundle.folder.glob("hailo/*.hef"))
    return options.encoder == "hailo" or (options.encoder == "auto" and has_hef)


def window_of(bundle: Bundle, config: WhisperConfig, options: LoadOptions) -> float:
    """Seconds of a window: as requested, else the bundle's own. Raises ModelError if it is too long."""
    asked = options.window
    if asked is not None and not 0 < asked <= config.trained_seconds:
        raise ModelError(
            f"{bundle.folder}: a window of {asked:g} s is too long; expected at most "
            f"{config.trained_seconds:g} s"
        )
    return asked or bundle.window


def describe(
    bundle: Bundle, config: WhisperConfig, encoder: Encoder, options: LoadOptions, slots: int
) -> ModelInfo:
    """The `ModelInfo` of a bundle with this encoder."""
    window = window_of(bundle, config, options)
    if encoder.frames is not None:
        window = min(options.window or window, encoder.frames / FRAMES_PER_SECOND)
    can = {"beam", "word_timestamps"}
    can |= {"prompt"} if config.previous is not None else set()
    can |= {"timestamps"} if config.timestamp_begin is not None else set()
    can |= {"no_speech"} if config.no_speech is not None else set()
    can |= {"language_detection"} if config.multilingual else set()
    can |= {"translate"} if config.multilingual and config.translate is not None else set()
    return ModelInfo(
        name=bundle.folder.name,
        family="whisper",
        path=str(bundle.folder),
        sha256=bundle.sha256,
        precision=bundle.precision,
        window=window,
        languages=tuple(sorted(config.languages)) if config.multilingual else ("en",),
        capabilities=frozenset(can),
        encoder_backend=encoder.backend,
        provider=getattr(encoder, "provider", "cpu"),
        batch=slots,
        longest=config.trained_seconds,
    )


def take_hef(folder: Path, hef: Path, role: Role | None = None) -> HefEntry:
    """Add a network compiled for a Hailo chip to the bundle at `folder`. Raises ModelError."""
    return add_hef(folder, hef, role=role, cpu=lambda: CpuEncoder(folder, Cores(os.cpu_count() or 1), "cpu"))
