"""What a model is, told by its files before it is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asr_batch.models.load import foresee, load_recognizer
from asr_batch.models.recognizer import LoadOptions

NANO = Path(__file__).parents[2] / "models" / "bundled" / "nano.en"


@pytest.mark.parametrize("options", [LoadOptions(), LoadOptions(window=5.0, batch_size=3, encoder="cpu")])
def test_a_bundle_is_what_its_files_tell(options: LoadOptions) -> None:
    model = load_recognizer(NANO, options)
    found = foresee(NANO, options)
    assert found is not None
    assert replace(found, provider=model.info.provider) == model.info
    model.close()


def test_what_only_loading_tells(tmp_path: Path) -> None:
    assert foresee(NANO, LoadOptions(encoder="hailo")) is None
    assert foresee(tmp_path, LoadOptions()) is None
    assert foresee(tmp_path / "absent", LoadOptions()) is None
