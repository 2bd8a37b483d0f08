"""Texts of the compiler kit: model scripts, convert.py, README.md.

The commands of the model scripts are those of Hailo's own conversion (github.com/hailocs/hailo-whisper).
Layer numbers are valid for the graph of tiny only and are left out for other sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asr_batch.models.whisper.config import WhisperConfig

TINY = (384, 4)
"""Width and layers of the model whose 16-bit layer numbers are known."""
ENCODER_16_BIT = (4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18)
DECODER_16_BIT = (12, 14, 16, 18, 20, 22, 24, 25, 26, 28, 30, 31, 32)
CHECK_NUMBERS = "# Layer numbers follow from the parsed graph: check them after any change of the export.\n"
NO_NUMBERS = (
    "# No layer numbers are known for this size: after a first optimisation look at the layer noise\n"
    "# analysis and give the worst convolutions a16_w16 here.\n"
)


def encoder_script(config: WhisperConfig, target: str, windows: int) -> str:
    """The model script of the encoder; data set sizes never exceed the calibration set."""
    tuned = min(windows, 3340)
    lines = [
        "model_optimization_flavor(optimization_level=2)",
        "post_quantization_optimization(finetune, policy=enabled, "
        f"dataset_size={tuned}, epochs=6, learning_rate=0.00001, batch_size={min(8, tuned)})",
        "pre_quantization_optimization(ew_add_fusing, policy=disabled)",
        "pre_quantization_optimization(matmul_correction, layers={matmul*}, correction_type=zp_comp_block)",
        _calibration(8, min(windows, 1024)),
        *_wide((config.d_model, config.encoder_layers) == TINY, ENCODER_16_BIT),
        "quantization_param({ew_add*}, precision_mode=a16_w16)",
        "quantization_param(ew_add1, precision_mode=a8_w8)",
        "pre_quantization_optimization(matmul_equalization, layers={matmul*}, matmul_bias=enabled)",
        "performance_param(optimize_for_batch=1)",
        "model_optimization_config(checker_cfg, policy=enabled)",
    ]
    if target == "hailo10h":
        lines.insert(
            3,
            "pre_quantization_optimization(layer_norm_decomposition, "
            "bit_decomposition_mode=uniform_precision, equalization=disabled)",
        )
    return "\n".join(lines) + "\n"


def decoder_script(config: WhisperConfig, windows: int) -> str:
    """The model script of the fixed-length decoder."""
    tuned = min(windows, 1024)
    return "\n".join(
        [
            "model_optimization_flavor(optimization_level=2, compression_level=0)",
            _calibration(4, min(windows, 128)),
            "post_quantization_optimization(finetune, policy=enabled, "
            f"dataset_size={tuned}, epochs=4, learning_rate=0.00001, batch_size={min(8, tuned)})",
            "model_optimization_config(checker_cfg, policy=enabled)",
            "quantization_param({ew_add*}, precision_mode=a16_w16)",
            *_wide((config.d_model, config.decoder_layers) == TINY, DECODER_16_BIT),
            "quantization_param({output_layer*}, precision_mode=a16_w16)",
            "performance_param(optimize_for_batch=1)",
            "resources_param(max_utilization=0.8)",
            "",
        ]
    )


def _calibration(batch: int, size: int) -> str:
    return f"model_optimization_config(calibration, batch_size={min(batch, size)}, calibset_size={size})"


def _wide(known: bool, layers: tuple[int, ...]) -> list[str]:
    if not known:
        return [NO_NUMBERS.rstrip()]
    lines = [f"quantization_param(conv{number}, precision_mode=a16_w16)" for number in layers]
    return [CHECK_NUMBERS.rstrip(), *lines]


CONVERT = '''#!/usr/bin/env python3
"""Compile this kit with Hailo's Dataflow Compiler: python convert.py [encoder] [decoder]

Needs x86-64 Linux, Python 3.10 or 3.11 and the vendor's package hailo_sdk_client (DFC 3.31 or newer of 3.x
for hailo8 and hailo8l, 5.x for hailo10h), and an NVIDIA GPU for the fine-tuning.
"""

import json
import sys
from pathlib import Path

import numpy as np
from hailo_sdk_client import ClientRunner

HERE = Path(__file__).resolve().parent
KIT = json.loads((HERE / "kit.json").read_text())
BORDERS = {
    "encoder": {},
    "decoder": {
        "start_node_names": KIT.get("decoder_start_nodes"),
        "end_node_names": KIT.get("decoder_end_nodes"),
    },
}


def calibration(part):
    if part == "encoder":
        return np.load(HERE / "encoder_calibration.npy")
    return dict(np.load(HERE / "decoder_calibration.npz"))


def step(part, name, work):
    print(f"{part}: {name} ...", flush=True)
    return work()


def convert(part):
    runner = ClientRunner(hw_arch=KIT["target"])
    graph = str(HERE / f"{part}.onnx")
    step(part, "parsing", lambda: runner.translate_onnx_model(graph, part, **BORDERS[part]))
    runner.save_har(str(HERE / f"{part}.har"))
    runner.load_model_script(str(HERE / f"{part}.alls"))
    data = calibration(part)
    step(part, "optimising", lambda: runner.optimize(data, work_dir=str(HERE / f"{part}_work")))
    runner.save_har(str(HERE / f"{part}_optimized.har"))
    hef = step(part, "compiling (tens of minutes to hours)", runner.compile)
    target = HERE / f"{part}-{KIT['target']}.hef"
    target.write_bytes(hef)
    print(f"{part}: {target}")


if __name__ == "__main__":
    for part in sys.argv[1:] or ["encoder"]:
        convert(part)
'''


def readme(facts: Mapping[str, Any]) -> str:
    """README.md of a kit."""
    known = dict(facts)
    known["dfc"] = "5.x" if facts["target"] == "hailo10h" else "3.31 or newer of 3.x (not 5.x)"
    known["warning"] = "" if facts["own_audio"] else CLIP_ONLY
    return README.format(**known)


CLIP_ONLY = """
**The calibration set is the packaged clip only.** It is enough to try the steps; a HEF made with it will hear
badly. Make the kit again with audio like your own.
"""
README = """# Compile this Whisper for {target}

Made by `asr-batch models compile`. Windows of {window:g} s: log-mel [1, {n_mels}, 1, {frames}] (NCHW in the
graph, NHWC on the device) to hidden states [1, {positions}, {width}].
{warning}
| file | what |
|---|---|
| `encoder.onnx` | Conv2d encoder, opset 17, static shapes |
| `encoder_calibration.npy` | {calibration_windows} windows, float32 [N, 1, {frames}, {n_mels}] |
| `encoder.alls`, `decoder.alls` | model scripts for the compiler |
| `decoder.onnx` | decoder over {tokens} tokens at once, opset 13, ids to logits |
| `decoder_npu.onnx` | the part of it that runs on the chip: embedded tokens to four parts of the logits |
| `token_embedding.npy`, `positions.npy` | what the host looks up (and adds, on Hailo-8 and 8L) |
| `decoder_calibration.npz` | hidden states and embedded tokens |
| `convert.py` | runs the compiler |

1. On an x86-64 Linux machine with Python 3.10 or 3.11 and an NVIDIA GPU install the Dataflow Compiler {dfc}
   from Hailo's Developer Zone (registration). Check: `hailo --version`.
2. Copy this folder there, then `python convert.py` (encoder) or `python convert.py encoder decoder`.
   Fine-tuning needs a GPU (the project that this follows used an A100); without it the result was poor,
   9.2 dB instead of 15 dB. Compiling for hailo8l took nine contexts and tens of minutes to hours.
3. Bring `encoder-{target}.hef` back: `asr-batch models add-hef BUNDLE encoder-{target}.hef`.
4. On the Pi: `asr-batch doctor`, then `asr-batch run MANIFEST --out DIR --model BUNDLE --encoder hailo`.
   The first thing it does is the parity probe; `asr-batch bench --npu` shows whether it pays.

Nothing here was run through the vendor's compiler by the makers of asr-batch: it is behind a registration.
The graphs are compared with `transformers`; scripts and node names follow Hailo's own conversion of Whisper.
Decoding on the CPU with its cache is about twelve times faster than this decoder on the chip; compile the
decoder only to measure that.
"""
