"""Exports a Hugging Face folder to the published ONNX layout with optimum, including cross-attentions.

Needs `pip install 'optimum-onnx[onnxruntime]'` in a separate environment, because its version 0.1 requires
transformers 4. The layout is only used by tests; `asr-batch models compile` makes a faster form from the
folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic


def export_published(source: Path, target: Path) -> None:
    """Write encoder and decoders (plain, with past, merged) and their int8 forms to `target`."""
    try:
        from optimum.exporters.onnx import main_export
        from optimum.exporters.onnx.model_configs import WhisperOnnxConfig
    except ImportError as error:
        raise SystemExit(f"needs optimum-onnx[onnxruntime] and transformers 4 ({error})") from error
    from transformers import AutoConfig

    class WithAttentions(WhisperOnnxConfig):  # type: ignore[misc]
        """Whisper whose decoders also return self- and cross-attentions, like the timestamped exports."""

        @property
        def outputs(self) -> dict[str, dict[int, str]]:
            found: dict[str, dict[int, str]] = super().outputs
            if self._behavior.value != "encoder":
                for kind, last in (
                    ("decoder", "past_decoder_sequence_length + 1"),
                    ("cross", "encoder_sequence_length_out"),
                ):
                    for i in range(self._config.decoder_layers):
                        axes = {0: "batch_size", 2: "decoder_sequence_length", 3: last}
                        found[f"{kind}_attentions.{i}"] = axes
            return found

    base = WithAttentions(config=AutoConfig.from_pretrained(source), task="automatic-speech-recognition")
    main_export(
        str(source),
        output=target,
        task="automatic-speech-recognition-with-past",
        do_validation=False,
        model_kwargs={"output_attentions": True},
        custom_onnx_configs={
            "encoder_model": base.with_behavior("encoder"),
            "decoder_model": base.with_behavior("decoder", use_past=True, use_past_in_inputs=False),
            "decoder_with_past_model": base.with_behavior("decoder", use_past=True, use_past_in_inputs=True),
        },
    )
    for path in sorted(target.glob("*.onnx")):
        if "_quantized" not in path.stem:
            quantise(path)


def quantise(path: Path) -> Path:
    """Dynamic int8 of one graph and its subgraphs, as in the published files."""
    target = path.with_name(f"{path.stem}_quantized.onnx")
    convolves = "Conv" in set(_operators(onnx.load(path).graph))
    quantize_dynamic(
        path,
        target,
        weight_type=QuantType.QUInt8 if convolves else QuantType.QInt8,
        per_channel=True,
        extra_options={"EnableSubgraph": True},
    )
    return target


def _operators(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _operators(inner)
