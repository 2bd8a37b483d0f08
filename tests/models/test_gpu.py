"""Whether there is a GPU is known without loading ONNX Runtime."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import onnxruntime
import pytest

from asr_batch.models.onnx import sessions

found = sessions.has_gpu.__wrapped__


def test_as_onnx_runtime_says() -> None:
    assert found() == (sessions.PROVIDERS["cuda"] in onnxruntime.get_available_providers())


@pytest.mark.parametrize(
    "library", ["libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"]
)
def test_by_the_library_of_the_provider(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / library).touch()
    spec = ModuleSpec("onnxruntime", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(sessions, "find_spec", lambda name: spec)
    assert found() == ("cuda" in library)


def test_without_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "find_spec", lambda name: None)
    assert not found()
