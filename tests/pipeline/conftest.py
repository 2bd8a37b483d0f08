"""Fixtures of the pipeline's tests: clips, files made from them, the bundled model."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pipeline_lab import AUDIO, BUNDLED, RATE

from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import Recognizer


@pytest.fixture(scope="session")
def clips() -> list[tuple[str, np.ndarray]]:
    """Text and samples of each clip."""
    with (AUDIO / "clips.csv").open(newline="") as stream:
        return [
            (line["text"], soundfile.read(AUDIO / line["audio"], dtype="float32")[0])
            for line in csv.DictReader(stream)
        ]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes samples [n] or [n, channels] to a file."""

    def write(samples: np.ndarray, name: str = "a.wav", rate: int = RATE, **how: str) -> Path:
        soundfile.write(tmp_path / name, samples, rate, **how)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def nano() -> Iterator[Recognizer]:
    """The bundled model."""
    recognizer = load_recognizer(BUNDLED / "nano.en")
    yield recognizer
    recognizer.close()
