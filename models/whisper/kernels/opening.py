"""Chooses the kernels of a bundle: those of the library, or the same in numpy."""

from __future__ import annotations

from pathlib import Path

from asr_batch.models.kernels.library import kernels, named_weights
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.kernels import decoder, encoder
from asr_batch.models.whisper.kernels.decoder import DecoderKernel
from asr_batch.models.whisper.kernels.encoder import EncoderKernel
from asr_batch.models.whisper.kernels.exact.decoder import ExactDecoder
from asr_batch.models.whisper.kernels.exact.encoder import ExactEncoder


def open_encoder_kernel(folder: Path, provider: str) -> EncoderKernel | ExactEncoder | None:
    """The kernel with the weights of a bundle; None if ONNX Runtime has to run the graph.

    Raises ModelError if the bundle's graph is invalid.
    """
    chosen = kernels(provider)
    if chosen is None:
        return None
    arrays = named_weights(folder / "encoder.onnx", "encoder.")
    heads = WhisperConfig.from_folder(folder).encoder_heads
    if not encoder.fits(arrays, heads):
        return None
    return EncoderKernel(chosen, arrays, heads) if chosen.compiled else ExactEncoder(arrays, heads)


def open_decoder_kernel(
    folder: Path, config: WhisperConfig, provider: str
) -> DecoderKernel | ExactDecoder | None:
    """The kernel with the weights of a bundle; None if ONNX Runtime has to run the graphs.

    Raises ModelError if a graph is invalid.
    """
    chosen = kernels(provider)
    if chosen is None:
        return None
    arrays = {
        name: array
        for graph in ("decoder", "cross")
        for name, array in named_weights(folder / f"{graph}.onnx", "decoder.").items()
    }
    if not decoder.fits(arrays, config):
        return None
    return DecoderKernel(chosen, arrays, config) if chosen.compiled else ExactDecoder(arrays, config)
