from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _module(name, file):
    spec = importlib.util.spec_from_file_location(name, HERE / file)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fakes = _module("worker_fakes", "fakes.py")
_module("ray_fakes", "ray_fakes.py")


@pytest.fixture
def fake_engine(monkeypatch):
    """Worker() loads fakes; the list gets every recognizer that was loaded."""
    from asr_batch.workers import worker as module

    loaded: list = []

    def load(path, options):
        loaded.append(fakes.FakeRecognizer("hailo" if options.encoder == "hailo" else "cpu"))
        return loaded[-1]

    monkeypatch.setattr(module, "load_recognizer", load)
    monkeypatch.setattr(module, "Transcriber", fakes.FakeTranscriber)
    monkeypatch.setattr(fakes.FakeTranscriber, "errors", {})
    return loaded
