from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("worker_fakes", HERE / "fakes.py")
fakes = importlib.util.module_from_spec(_spec)
sys.modules["worker_fakes"] = fakes
_spec.loader.exec_module(fakes)


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
