"""What the silicon of the double does: runs the ONNX graph of a HEF with the noise of eight bits."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import onnxruntime as ort

from hailo_platform import double, heffile

HOST_AXES = {"NHWC": (0, 1, 2), "AUTO": (0, 1, 2), "NHCW": (0, 2, 1), "NCHW": (2, 0, 1)}


def to_hwc(flat: np.ndarray, stream: dict[str, Any]) -> np.ndarray:
    """A host buffer, whatever its order, as [H, W, C]."""
    shape = [1] * (3 - len(stream["shape"])) + list(stream["shape"])
    if stream.get("order") == "NHW":
        shape = [*stream["shape"], 1]
    axes = HOST_AXES.get(stream.get("order", "NHWC"), (0, 1, 2))
    return np.ascontiguousarray(flat.reshape([shape[a] for a in axes]).transpose(np.argsort(axes)))


def from_hwc(array: np.ndarray, stream: dict[str, Any]) -> np.ndarray:
    axes = HOST_AXES.get(stream.get("order", "NHWC"), (0, 1, 2))
    return np.ascontiguousarray(array.transpose(axes)).reshape(-1)


class Chip:
    """One configured network. Graph inputs are [1, C, H, W], [1, C, W] or [1, W, C]; outputs [1, W, C]."""

    def __init__(self, hef: heffile.Parsed) -> None:
        self.hef = hef
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = (
            ort.InferenceSession(hef.onnx, options, providers=["CPUExecutionProvider"]) if hef.onnx else None
        )

    def run(self, inputs: dict[str, np.ndarray], fault: list[dict[str, Any]], frame: int) -> dict[str, Any]:
        """`inputs`: float32 host buffers by stream name. Returns flat float32 buffers by stream name."""
        outputs = [value.astype(np.float32) for value in self._compute(inputs)]
        snr = float(double.settings()["snr_db"])
        for one in fault:
            if one["kind"] == "drift":
                snr -= one.get("db", 1.0) * (frame - one["frame"] + 1)
        seed = zlib.crc32(next(iter(inputs.values())).tobytes())
        result = {}
        for stream, value in zip(self.hef.outputs, outputs, strict=True):
            noisy = self._noise(value, snr, seed, {one["kind"] for one in fault}, frame)
            result[stream["name"]] = from_hwc(noisy.reshape(1, *noisy.shape[-2:]), stream)
        return result

    def _noise(self, value: np.ndarray, snr: float, seed: int, kinds: set[str], frame: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        if "garbage" in kinds:
            return np.random.default_rng(frame).normal(0, value.std(), value.shape).astype(np.float32)
        if "constant" in kinds:
            return np.full_like(value, 0.25)
        if "nan" in kinds:
            return np.full_like(value, np.nan)
        level = float(np.sqrt(np.mean(value**2)) * 10 ** (-snr / 20))
        return (value + rng.normal(0, level, value.shape)).astype(np.float32)

    def _compute(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        if self.session is None:
            return [np.zeros(stream["shape"], np.float32) for stream in self.hef.outputs]
        feeds = {}
        for stream, want in zip(self.hef.inputs, self.session.get_inputs(), strict=True):
            hwc = to_hwc(inputs[stream["name"]], stream)
            h, w, c = hwc.shape
            flat = hwc if tuple(want.shape[1:]) == (h * w, c) else hwc.transpose(2, 0, 1)
            open_axis = next((i for i, d in enumerate(want.shape) if i and not isinstance(d, int)), 0)
            sizes = [d if isinstance(d, int) else 1 for d in want.shape]
            sizes[open_axis] = -1
            feeds[want.name] = np.ascontiguousarray(flat).reshape(sizes)
        return list(self.session.run(None, feeds))
