"""A second model of the layout: other sizes, ids in another order, float32 embedding, grown in a moment."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench" / "qwen3_fixture.py"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("qwen3_fixture", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_model() -> Callable[..., None]:
    pytest.importorskip("onnx")
    made = generator()

    def make(folder: Path, **sizes: Any) -> None:
        made.write_model(folder, made.Shape(**sizes), seed=2, block=0)

    return make


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("qwen3") / "other"
    made = generator()
    made.write_model(folder, made.Shape(), seed=5)
    return folder
