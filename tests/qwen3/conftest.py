"""A second model of the layout: other sizes, ids in another order, float32 embedding, grown in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def make_model() -> Callable[..., None]:
    pytest.importorskip("onnx")
    from bench.qwen3 import folder as made

    def make(folder: Path, **sizes: Any) -> None:
        made.write_model(folder, made.Shape(**sizes), seed=2, block=0)

    return make


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("qwen3") / "other"
    from bench.qwen3 import folder as made

    made.write_model(folder, made.Shape(), seed=5)
    return folder
