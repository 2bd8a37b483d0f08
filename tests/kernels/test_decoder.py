"""The decoder's kernel against the same sums in float64, and against the graphs on speech."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from kernel_models import Arrays, decoder_config, random_decoder

from asr_batch.models.kernels import library
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import DecodeOptions, LoadOptions, WindowRequest, WindowResult
from asr_batch.models.whisper.engine.kernel import KernelStepper
from asr_batch.models.whisper.kernels.decoder import BLOCK, DecoderKernel, KernelCross, fits, tokens_of
from asr_batch.models.whisper.kernels.exact.decoder import ExactDecoder

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "bundled" / "nano.en"
SETS = library.all_sets()
pytestmark = pytest.mark.skipif(not SETS, reason="no compiler at installation")


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


class InFloat64:
    """The decoder over one window, from the same integers."""

    def __init__(self, arrays: Arrays, heads: int) -> None:
        self.arrays, self.heads = arrays, heads

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        weight = self.arrays[f"{name}.int8"].astype(np.float64) * self.arrays[f"{name}.scale"]
        return x @ weight + self.arrays.get(f"{name}.bias", 0.0)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        scaled = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return scaled * self.arrays[f"{name}.weight"] + self.arrays[f"{name}.bias"]

    def split(self, x: np.ndarray) -> np.ndarray:
        return np.stack(np.split(x, self.heads, axis=1))

    def embed(self, ids: np.ndarray) -> np.ndarray:
        table = self.arrays["decoder.embed_tokens.int8"][ids].astype(np.float64)
        scaled = table * self.arrays["decoder.embed_tokens.scale"][ids, None] * math.sqrt(table.shape[1])
        return scaled + self.arrays["decoder.embed_positions.weight"][: len(ids)]

    def run(
        self, ids: np.ndarray, hidden: np.ndarray, bias: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """States [tokens, d_model], and each layer's cross-attention [heads, tokens, stored]."""
        x, listened = self.embed(ids), []
        later = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
        for name in ("decoder.layers.0", "decoder.layers.1"):
            y = self.linear(f"{name}.self_attn.qkv_proj", self.norm(f"{name}.self_attn_layer_norm", x))
            q, k, v = (self.split(part) for part in np.split(y, 3, axis=1))
            weights = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2]) + later)
            x = x + self.linear(f"{name}.self_attn.out_proj", np.hstack(list(weights @ v)))
            y = self.norm(f"{name}.encoder_attn_layer_norm", x)
            q = self.split(self.linear(f"{name}.encoder_attn.q_proj", y))
            both = self.linear(f"{name}.encoder_attn.kv_proj", hidden.astype(np.float64))
            k, v = (self.split(part) for part in np.split(both, 2, axis=1))
            weights = softmax(q @ k.transpose(0, 2, 1) + bias)
            listened.append(weights)
            x = x + self.linear(f"{name}.encoder_attn.out_proj", np.hstack(list(weights @ v)))
            y = self.linear(f"{name}.fc1", self.norm(f"{name}.final_layer_norm", x))
            y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
            x = x + self.linear(f"{name}.fc2", y)
        return self.norm("decoder.layer_norm", x), listened


def feed(
    kernel: DecoderKernel | ExactDecoder, ids: np.ndarray, window: KernelCross, borders: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States, attended groups and attention of the tokens `ids`, fed in pieces."""
    caches, n = kernel.caches(1, 4), len(ids)
    caches.reserve(n)
    work = kernel.scratch(caches)
    states = np.zeros((n, kernel.d_model), np.float32)
    attended = np.zeros((n, kernel.groups), np.float32)
    attention = np.zeros((n, len(kernel.followed), window.stored), np.float32)
    for start, end in pairwise([*borders, n]):
        count, piece = end - start, slice(start, end)
        tokens = tokens_of(ids[piece], range(start, end), [0] * count, [window] * count)
        kernel.run(tokens, caches, states[piece], attended[piece], work, attention[piece])
    return states, attended, attention


@pytest.mark.parametrize("length", [1, 5, 18])
def test_a_prompt_of_any_length_is_fed_with_and_without_the_library(length: int) -> None:
    """The last block of a prompt is seldom full, nor is this one."""
    arrays, config = random_decoder(3, 48, 80), decoder_config(3, 48, 80)
    rng = np.random.default_rng(length)
    hidden, bias = rng.standard_normal((37, 144), np.float32), np.zeros(37, np.float32)
    ids = rng.integers(0, 50, length + 1).tolist()
    found = []
    for kernel in (DecoderKernel(SETS[0], arrays, config), ExactDecoder(arrays, config)):
        states = np.zeros((1, kernel.d_model), np.float32)
        stepper = KernelStepper(kernel, 1, length + 1, states)
        stepper.buffers.put(0, kernel.project(hidden, bias, 37))
        stepper.prefill(0, ids[:-1])
        stepper.step(ids[-1:], [length])
        found.append(states)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("heads", "width", "ffn"), [(1, 16, 16), (3, 48, 80), (2, 64, 256)])
@pytest.mark.parametrize("stored", [1, 5, 37, 100])
def test_states_and_attention(heads: int, width: int, ffn: int, stored: int) -> None:
    arrays, config = random_decoder(heads, width, ffn), decoder_config(heads, width, ffn)
    assert fits(arrays, config)
    kernel = DecoderKernel(SETS[0], arrays, config)
    rng = np.random.default_rng(stored)
    hidden = rng.standard_normal((stored, heads * width), np.float32)
    bias = rng.uniform(0, 3, stored).astype(np.float32)
    ids = rng.integers(0, 50, 11)
    window = kernel.project(hidden, bias, stored)
    states, attended, attention = feed(kernel, ids, window, [0])
    right, listened = InFloat64(arrays, heads).run(ids, hidden, bias)
    assert np.linalg.norm(states - right) / np.linalg.norm(right) < 0.04
    followed = np.stack([listened[0][0], listened[1][heads - 1]])
    assert np.abs(attention.transpose(1, 0, 2) - followed).max() < 0.05
    groups = np.add.reduceat(attention.mean(axis=1), range(0, stored, 4), axis=1)
    np.testing.assert_allclose(attended[:, : groups.shape[1]], groups, atol=1e-5)
    for borders in (list(range(11)), [0, 7, 10]):  # to the last bit, however they are fed
        for one, other in zip(feed(kernel, ids, window, borders), (states, attended, attention), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("heads", "width", "ffn"), [(1, 16, 16), (3, 48, 80), (2, 64, 256)])
@pytest.mark.parametrize("stored", [1, 37, 1200])  # 1200: sums that no float32 holds
def test_numpy_gives_the_same_numbers(heads: int, width: int, ffn: int, stored: int) -> None:
    arrays, config = random_decoder(heads, width, ffn), decoder_config(heads, width, ffn)
    config.max_source_positions = 1500
    rng = np.random.default_rng(stored)
    hidden = rng.standard_normal((stored, heads * width), np.float32)
    bias = np.where(rng.random(stored) < 0.1, -1e30, rng.uniform(0, 3, stored)).astype(np.float32)
    bias[0] = 0
    ids = rng.integers(0, 50, 19)
    found = [
        feed(kernel, ids, kernel.project(hidden, bias, stored), [0, 1, 12, 18])
        for kernel in (DecoderKernel(SETS[0], arrays, config), ExactDecoder(arrays, config))
    ]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("pieces", [1, 3])
def test_rows_of_one_window_are_fed_as_neighbours_wherever_they_are(pieces: int) -> None:
    arrays, config = random_decoder(3, 48, 80), decoder_config(3, 48, 80)
    kernel, rng = DecoderKernel(SETS[0], arrays, config), np.random.default_rng(4)
    windows = [
        kernel.project(rng.standard_normal((n, 144), np.float32), np.zeros(n, np.float32), n)
        for n in (90, 3, 50)
    ]
    of_rows, ids = [0, 1, 0, 2, 1, 0, 2, 0, 0, 0, 0], rng.integers(0, 50, (5, 11))

    def fed(rows: list[int]) -> list[np.ndarray]:
        """States and attention of the rows after five tokens."""
        states = np.zeros((len(rows), kernel.d_model), np.float32)
        stepper = KernelStepper(kernel, len(rows), 8, states)
        for place, row in enumerate(rows):
            stepper.buffers.put(place, windows[of_rows[row]])
        with ThreadPoolExecutor(2) as pool:
            for at in range(5):
                some = ids[at, rows].tolist()
                stepper.step(some, [at] * len(rows), pool, min(pieces, len(rows)))
        return [states, stepper.attended[:, 0]]

    together = fed(list(range(11)))
    for row in range(11):
        for all_rows, alone in zip(together, fed([row]), strict=True):
            np.testing.assert_array_equal(all_rows[row], alone[0])


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_several_tokens_of_a_slot_are_fed_as_one_after_the_other(pieces: int) -> None:
    arrays, config = random_decoder(3, 48, 80), decoder_config(3, 48, 80)
    kernel, rng = DecoderKernel(SETS[0], arrays, config), np.random.default_rng(5)
    count, slots = 4, 14  # more tokens than a call takes
    windows = [
        kernel.project(rng.standard_normal((n + 1, 144), np.float32), np.zeros(n + 1, np.float32), n + 1)
        for n in range(slots)
    ]
    ids = rng.integers(0, 50, (slots, count))
    states = [np.zeros((slots * count, kernel.d_model), np.float32) for _ in range(2)]
    one, all_at_once = (KernelStepper(kernel, slots * count, count, some) for some in states)
    for place, window in enumerate(windows):
        one.buffers.put(place, window)
        all_at_once.buffers.put(place, window)
    right = []
    for at in range(count):
        one.step(ids[:, at].tolist(), [at] * slots)
        right.append(states[0][:slots].copy())
    places = [place for place in range(slots) for _ in range(count)]
    with ThreadPoolExecutor(4) as pool:
        all_at_once.step(ids.reshape(-1).tolist(), list(range(count)) * slots, pool, pieces, places)
    np.testing.assert_array_equal(states[1].reshape(slots, count, -1), np.stack(right, axis=1))


def test_a_token_is_the_same_among_others() -> None:
    arrays, config = random_decoder(2, 64, 256), decoder_config(2, 64, 256)
    kernel, rng = DecoderKernel(SETS[0], arrays, config), np.random.default_rng(0)
    windows = [
        kernel.project(rng.standard_normal((n, 128), np.float32), np.zeros(n, np.float32), n)
        for n in (90, 3, 50)
    ]
    alone = [feed(kernel, np.arange(5), window, list(range(5)))[0] for window in windows]
    slots = [0, 1, 2] * (BLOCK // 3)
    caches = kernel.caches(BLOCK, 32)
    work = kernel.scratch(caches)
    states, attended = np.zeros((BLOCK, 128), np.float32), np.zeros((BLOCK, kernel.groups), np.float32)
    for at in range(5):
        tokens = tokens_of([at] * BLOCK, [at] * BLOCK, range(BLOCK), [windows[slot] for slot in slots])
        kernel.run(tokens, caches, states, attended, work)
        for row, slot in zip(states, slots, strict=True):
            np.testing.assert_array_equal(row, alone[slot][at])


@pytest.mark.parametrize("sizes", [(3, 8, 96), (1, 80, 96), (2, 16, 100)])
def test_sizes_that_are_left_to_onnx_runtime(sizes: tuple[int, int, int]) -> None:
    assert not fits(random_decoder(*sizes), decoder_config(*sizes))


def texts(provider: str, options: list[DecodeOptions]) -> dict[object, WindowResult]:
    model = load_recognizer(MODEL, LoadOptions(threads=2, batch_size=4, provider=provider))
    clips = sorted((ROOT / "tests" / "data" / "audio").glob("dev-*.flac"))
    found = {}
    for i, option in enumerate(options):
        for clip in clips:
            model.submit(WindowRequest((i, clip.name), soundfile.read(clip, dtype="float32")[0], option))
            if model.room() == 0:
                found |= {result.key: result for result in model.poll()}
    while model.pending():
        found |= {result.key: result for result in model.poll()}
    model.close()
    return found


def test_texts_words_and_beams_as_the_graphs_give_them() -> None:
    options = [DecodeOptions(word_timestamps=True), DecodeOptions(beam_size=3)]
    ours, graphs = texts("auto", options), texts("cpu", options)
    differ = [key for key in graphs if ours[key].tokens != graphs[key].tokens]
    assert len(graphs) >= 12
    assert len(differ) <= len(graphs) // 12
    for key in set(graphs) - set(differ):
        assert abs(ours[key].avg_logprob - graphs[key].avg_logprob) < 0.05
        pairs = list(zip(ours[key].words or (), graphs[key].words or (), strict=True))
        late = [abs(one.start - other.start) for one, other in pairs]
        assert not late or np.median(late) < 0.06
