"""HEF files for whole models: an encoder, and the fixed-length decoder of a kit."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path
from typing import Any

_PATH = Path(__file__).resolve().parent.parent / "fakes" / "hailo_platform" / "heffile.py"


def _heffile() -> Any:
    if "hailo_heffile" not in sys.modules:
        spec = util.spec_from_file_location("hailo_heffile", _PATH)
        assert spec is not None
        assert spec.loader is not None
        module = util.module_from_spec(spec)
        sys.modules["hailo_heffile"] = module
        spec.loader.exec_module(module)
    return sys.modules["hailo_heffile"]


def write_hef(path: Path, graph: bytes, frames: int, width: int, arch: str = "HAILO8L") -> Path:
    inputs = [{"name": "enc/input_layer1", "shape": [1, frames, 80], "order": "NHWC"}]
    outputs = [{"name": "enc/norm", "shape": [1, frames // 2, width], "order": "NHWC"}]
    return _heffile().write(path, arch=arch, inputs=inputs, outputs=outputs, onnx=graph)


def write_decoder_hef(path: Path, kit: Path, facts: dict[str, Any], arch: str = "HAILO8L") -> Path:
    """Outputs are listed in another order than the model's, which `rank` keeps, as on a real chip."""
    borders, tokens, width = facts["vocabulary_borders"], facts["tokens"], facts["width"]
    inputs = [
        {"name": "dec/input_layer1", "shape": [1, facts["positions"], width]},
        {"name": "dec/input_layer2", "shape": [tokens, 1, width]},
    ]
    outputs = [
        {"name": f"dec/conv{40 + i}", "shape": [1, tokens, borders[i + 1] - borders[i]], "rank": i}
        for i in range(4)
    ]
    graph = (kit / "decoder_npu.onnx").read_bytes()
    return _heffile().write(path, arch=arch, group="dec", inputs=inputs, outputs=outputs, onnx=graph)
