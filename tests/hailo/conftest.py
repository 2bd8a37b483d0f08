"""The NPU of these tests: settings, the double on the import path, a bundle with a random encoder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

TESTS = Path(__file__).resolve().parent.parent
FAKES = TESTS / "fakes"


def helper(name: str, path: Path) -> ModuleType:
    """A module of the tests by path (they lie in no package)."""
    if name not in sys.modules:
        spec = util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


class Npu:
    """Settings and state of the double in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now: dict[str, Any] = {}
        self.stamp = 1_000_000_000

    def set(self, **settings: Any) -> None:
        import os

        self.now |= settings
        path = self.folder / "settings.json"
        path.write_text(json.dumps(self.now))
        self.stamp += 1  # the double looks at the time stamp only
        os.utime(path, ns=(self.stamp, self.stamp))

    def frame(self) -> int:
        """Frames that the device was given so far."""
        path = self.folder / "frames"
        return int(path.read_text() or 0) if path.exists() else 0

    def fault(self, kind: str, after: int = 0, count: int = 1, **more: Any) -> None:
        """Let frames from `after` frames in the future on have a fault."""
        entry = {"kind": kind, "frame": self.frame() + after, "count": count, **more}
        self.set(faults=[*self.now.get("faults", []), entry])


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "hailo_platform"]:
        del sys.modules[name]


@pytest.fixture
def npu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Npu]:
    folder = tmp_path / "npu"
    folder.mkdir()
    monkeypatch.setenv("HAILO_FAKE", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.syspath_prepend(str(FAKES))
    forget()
    one = Npu(folder)
    one.set(ms=0.0)
    yield one
    forget()


@pytest.fixture(scope="session")
def encoder_onnx() -> bytes:
    """A random Whisper encoder for 2 s windows: [batch, 80, 200] to [batch, 100, 32]."""
    pytest.importorskip("onnx")
    tiny = helper("hailo_tiny_whisper", TESTS / "helpers" / "tiny_whisper.py")
    spec = tiny.Tiny(seed=7, window=2, trained=2)
    return tiny.encoder_model(spec, tiny.weights(spec)).SerializeToString()


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module that makes random Whisper models."""
    return helper("hailo_tiny_whisper", TESTS / "helpers" / "tiny_whisper.py")


class CpuJob:
    backend = "cpu"
    flags = ()

    def __init__(self, hidden: np.ndarray) -> None:
        self._hidden = hidden

    def done(self) -> bool:
        return True

    def result(self) -> np.ndarray:
        return self._hidden


class Cpu:
    """A CPU encoder over the same graph; counts what it is asked for."""

    backend, frames, n_mels, depth, max_batch = "cpu", None, 80, 1, 8

    def __init__(self, onnx: bytes) -> None:
        self.session = ort.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        self.windows = 0
        self.closed = False

    def start(self, log_mel: np.ndarray, *, cpu: bool = False) -> CpuJob:
        self.windows += len(log_mel)
        return CpuJob(self.session.run(None, {"input_features": log_mel})[0])

    def confirm(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def cpu(encoder_onnx: bytes) -> Cpu:
    return Cpu(encoder_onnx)


@pytest.fixture
def hef_file(tmp_path: Path, encoder_onnx: bytes) -> Any:
    """Writes HEF files of the random encoder: `hef_file(arch="HAILO8", order="NHWC", ...)`."""
    heffile = helper("hailo_heffile", FAKES / "hailo_platform" / "heffile.py")

    def write(name: str = "enc.hef", **changes: Any) -> Path:
        shape = changes.pop("shape", [1, 200, 80])
        order = changes.pop("order", "NHWC")
        out = {"name": "tiny/ew_add9", "shape": [1, 100, 32], "order": order, "scale": 0.05}
        outputs = changes.pop("outputs", [out])
        inputs = [{"name": "tiny/input_layer1", "shape": shape, "order": order, "scale": 0.016, "zp": 90}]
        return heffile.write(tmp_path / name, inputs=inputs, outputs=outputs, onnx=encoder_onnx, **changes)

    return write


@pytest.fixture
def bundle(tmp_path: Path, hef_file: Any, cpu: Cpu) -> Path:
    """A bundle that holds the encoder's HEF for a Hailo-8 and its probe reference."""
    from asr_batch.models.hailo.bundle import add_hef

    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text(json.dumps({"format": 3, "window": 2}))
    add_hef(folder, hef_file(), cpu=lambda: cpu)
    return folder


@pytest.fixture
def windows() -> np.ndarray:
    """Six windows of log-mel like speech and silence: [6, 80, 200]."""
    from asr_batch.models.hailo.recovery.probe import golden_log_mel

    golden = golden_log_mel(80, 1200).reshape(80, 6, 200).transpose(1, 0, 2)
    return np.ascontiguousarray(golden, np.float32)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr_batch.models.hailo.device.BUSY_WAITS", (0.05, 0.0))
