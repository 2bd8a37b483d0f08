"""The kernels against the same sums in float64, and who uses them."""

from __future__ import annotations

import math
import platform
import re
import shutil
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from kernel_models import Arrays, random_encoder, random_table

from asr_batch.models.features import log_mel
from asr_batch.models.kernels import library as kernels
from asr_batch.models.kernels.arrays import page_by_page
from asr_batch.models.onnx.options import Cores
from asr_batch.models.whisper.engine.encoder import CpuEncoder
from asr_batch.models.whisper.engine.logits import _Exact, _Graph, _Kernel, _Table
from asr_batch.models.whisper.engine.vocabulary import Vocabulary, VocabularyGraphs
from asr_batch.models.whisper.kernels.encoder import EncoderKernel, fits
from asr_batch.models.whisper.kernels.exact.encoder import ExactEncoder
from asr_batch.models.whisper.kernels.opening import open_encoder_kernel
from asr_batch.workers.doctor import _kernels

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "bundled" / "nano.en"
SETS = kernels.all_sets()
BEST = SETS[0] if SETS else None
needs_kernel = pytest.mark.skipif(BEST is None, reason="no compiler at installation")
every_set = pytest.mark.parametrize("chosen", [*SETS, kernels.NUMPY], ids=lambda one: one.name)


def in_float64(arrays: Arrays, heads: int, log_mel: np.ndarray) -> np.ndarray:
    """The same in float64 over `log_mel` [n_mels, frames]: hidden states [positions, d]."""
    erf = np.vectorize(math.erf)

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        weight = arrays[f"{name}.int8"].astype(np.float64) * arrays[f"{name}.scale"]
        return x @ weight + arrays.get(f"{name}.bias", 0.0)

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        scaled = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return scaled * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return x * (1 + erf(x / math.sqrt(2))) / 2

    def convolution(name: str, x: np.ndarray, stride: int) -> np.ndarray:
        padded = np.pad(x, ((1, 1), (0, 0)))
        return gelu(linear(name, np.hstack([padded[:-2], padded[1:-1], padded[2:]])[::stride]))

    x = convolution("encoder.conv2", convolution("encoder.conv1", log_mel.T.astype(np.float64), 1), 2)
    x = x + arrays["encoder.embed_positions.weight"][: len(x)]
    layers = sum(name.endswith("fc1.int8") for name in arrays)
    for name in (f"encoder.layers.{i}" for i in range(layers)):
        y = norm(f"{name}.self_attn_layer_norm", x)
        q = linear(f"{name}.self_attn.q_proj", y)
        k, v = np.split(linear(f"{name}.self_attn.kv_proj", y), 2, axis=1)
        sums = []
        for queries, keys, values in zip(*(np.split(part, heads, axis=1) for part in (q, k, v)), strict=True):
            scores = np.exp(queries @ keys.T - (queries @ keys.T).max(1, keepdims=True))
            sums.append(scores / scores.sum(1, keepdims=True) @ values)
        x = x + linear(f"{name}.self_attn.out_proj", np.hstack(sums))
        inner = gelu(linear(f"{name}.fc1", norm(f"{name}.final_layer_norm", x)))
        x = x + linear(f"{name}.fc2", inner)
    return norm("encoder.layer_norm", x)


def off(found: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


@needs_kernel
@pytest.mark.parametrize(
    ("positions", "heads", "width", "ffn", "mels"),
    [
        (1, 1, 16, 16, 80),
        (7, 3, 16, 96, 80),
        (25, 2, 32, 128, 128),
        (49, 1, 48, 208, 80),
        (64, 5, 16, 320, 80),
        (97, 2, 64, 512, 128),
        (250, 3, 64, 768, 80),
        (250, 1, 16, 16, 128),  # a stem larger than the layers
    ],
)
def test_hidden_states_of_random_encoders(
    positions: int, heads: int, width: int, ffn: int, mels: int
) -> None:
    arrays = random_encoder(positions, heads, width, ffn, mels)
    assert fits(arrays, heads)
    encode = EncoderKernel(BEST, arrays, heads)
    assert encode.n_mels == mels
    rng = np.random.default_rng(0)
    for loud in (0.1, 1.0):
        sound = rng.uniform(-loud, loud, (1, mels, 2 * positions)).astype(np.float32)
        hidden = encode(sound)
        right = in_float64(arrays, heads, sound[0])
        assert hidden.shape == (1, positions, heads * width)
        assert off(hidden[0], right) < 0.03
        # Wherever in the window: the last rows share their tile with rows that are not there.
        assert max(off(hidden[0, i], right[i]) for i in range(positions)) < 0.05


def encoder_of(chosen: kernels.KernelSet, arrays: Arrays, heads: int) -> EncoderKernel | ExactEncoder:
    return EncoderKernel(chosen, arrays, heads) if chosen.compiled else ExactEncoder(arrays, heads)


@needs_kernel
@every_set
def test_every_set_gives_the_same_numbers(chosen: kernels.KernelSet) -> None:
    sizes = [(1, 1, 16, 16, 80), (7, 3, 16, 96, 80), (9, 2, 48, 96, 80), (11, 5, 16, 80, 80)]
    sizes += [(49, 1, 48, 208, 80), (66, 2, 64, 512, 128)]
    for positions, heads, width, ffn, mels in sizes:
        arrays = random_encoder(positions, heads, width, ffn, mels)
        sound = np.random.default_rng(0).uniform(-1, 1, (1, mels, 2 * positions)).astype(np.float32)
        ours, best = (encoder_of(one, arrays, heads)(sound) for one in (chosen, BEST))
        np.testing.assert_array_equal(ours, best)
    for tokens, d in ((5, 16), (1001, 64)):
        arrays, _ = random_table(tokens, d)
        states = np.random.default_rng(0).standard_normal((9, d), np.float32)
        (ours, norm), (best, best_norm) = (_logits(one, arrays, states) for one in (chosen, BEST))
        np.testing.assert_array_equal(ours, best)
        np.testing.assert_array_equal(norm, best_norm)


def _logits(chosen: kernels.KernelSet, arrays: Arrays, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bound = part_of(chosen, _Table(arrays)).bound(states)
    return bound.logits, bound.run(len(states))


def part_of(chosen: kernels.KernelSet, table: _Table) -> _Kernel | _Exact:
    return _Kernel(chosen, table) if chosen.compiled else _Exact(table)


@pytest.mark.parametrize(("panel", "depth"), [(64, 4), (32, 8), (16, 2), (16, 1)])
@pytest.mark.parametrize("shape", [(16, 16), (48, 144), (80, 400)])
@pytest.mark.parametrize("turned", [False, True])
def test_panels_of_weights(shape: tuple[int, int], panel: int, depth: int, turned: bool) -> None:
    weight = np.random.default_rng(0).integers(-127, 128, shape, np.int8)
    stored = np.asfortranarray(weight) if turned else weight
    made, *_ = kernels.KernelSet("", panel, depth, None).linear(stored, np.ones(shape[1], np.float32), None)
    at = 0
    for start in range(0, shape[1], panel):
        for first in range(0, shape[0], depth):
            for column in weight.T[start : start + panel]:
                assert made[at : at + depth].tolist() == column[first : first + depth].tolist()
                at += depth
    assert at == weight.size


@needs_kernel
def test_closer_than_the_graph_on_speech() -> None:
    arrays = kernels.named_weights(MODEL / "encoder.onnx", "encoder.")
    ours, graph = CpuEncoder(MODEL, Cores(1), "auto"), CpuEncoder(MODEL, Cores(1), "cpu")
    clips = sorted((ROOT / "tests" / "data" / "audio").glob("dev-*.flac"))[:6]
    given = [log_mel(soundfile.read(clip, dtype="float32")[0], 80, 160000) for clip in clips]
    right = [in_float64(arrays, 3, one) for one in given]
    by_kernel, by_graph = (
        [off(encoder.start(one[None]).result()[0], true) for one, true in zip(given, right, strict=True)]
        for encoder in (ours, graph)
    )
    assert max(by_kernel) < 0.04
    assert np.mean(by_kernel) < np.mean(by_graph)
    assert max(by_graph) < 0.1


@needs_kernel
def test_a_window_is_the_same_on_every_thread_and_behind_every_other() -> None:
    encode = open_encoder_kernel(MODEL, "auto")
    assert encode is not None
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((1, 80, 1000)).astype(np.float32) for _ in range(8)]
    alone = [encode(one) for one in given]
    encode(np.full((1, 80, 3000), np.nan, np.float32))
    np.testing.assert_array_equal(encode(given[0]), alone[0])
    short = rng.standard_normal((1, 80, 160)).astype(np.float32)
    fresh = open_encoder_kernel(MODEL, "auto")
    assert fresh is not None
    np.testing.assert_array_equal(encode(short), fresh(short))  # in scratch memory that longer ones left
    with ThreadPoolExecutor(4) as pool:
        for one, before in zip(pool.map(encode, given * 3), alone * 3, strict=True):
            np.testing.assert_array_equal(one, before)


@needs_kernel
@pytest.mark.parametrize(("tokens", "d"), [(5, 16), (64, 48), (100, 192), (1001, 64), (2063, 384)])
def test_logits_and_their_norm(tokens: int, d: int) -> None:
    arrays, table = random_table(tokens, d)
    states = np.random.default_rng(0).standard_normal((16, d), np.float32)
    states[3] = 0
    bound = _Kernel(BEST, _Table(arrays)).bound(states)
    alone = []
    for count in (16, 1, 5, 6, 7, 13):
        norm = bound.run(count)
        right = states[:count].astype(np.float64) @ table.T
        assert bound.logits[:count].shape == (count, tokens)
        assert off(bound.logits[:count], right) < 0.01
        largest = bound.logits[:count].max(1).astype(np.float64)
        summed = np.exp(bound.logits[:count] - largest[:, None]).sum(1)
        np.testing.assert_allclose(norm, largest + np.log(summed), atol=1e-5)
        alone.append((bound.logits[:1].copy(), norm[:1]))
    for logits, norm in alone:  # to the last bit, whatever runs beside it
        np.testing.assert_array_equal(logits, alone[0][0])
        assert norm == alone[0][1]


@needs_kernel
@pytest.mark.parametrize("chosen", [BEST, kernels.NUMPY])
@pytest.mark.parametrize(("most", "count"), [(1, 5), (4, 16), (16, 3)])
def test_likeliest_tokens_without_suppressed_ones(chosen: kernels.KernelSet, most: int, count: int) -> None:
    arrays, _ = random_table(16 * 101, 48)
    arrays["vocabulary.int8"][700:720] = arrays["vocabulary.int8"][400]  # equals: the first one first
    arrays["vocabulary.scale"][700:720] = arrays["vocabulary.scale"][400]
    states = np.random.default_rng(most).standard_normal((count, 48), np.float32)
    free = part_of(chosen, _Table(arrays)).bound(states)
    free.run(count)
    forbidden = np.unique(free.logits[:count].argmax(axis=1))[: count // 2 + 1]
    bound, ruled = part_of(chosen, _Table(arrays, forbidden.tolist())).bound(states), count - 1
    norm = bound.run(count, ruled, most)
    np.testing.assert_array_equal(bound.logits[ruled], free.logits[ruled])
    right = free.logits[:ruled].astype(np.float64)
    right[:, forbidden] = -np.inf
    found = bound.ids.reshape(-1)[: ruled * most].reshape(ruled, most)
    np.testing.assert_array_equal(found, np.argsort(-right, axis=1, kind="stable")[:, :most])
    np.testing.assert_allclose(norm[:ruled], np.log(np.exp(right).sum(axis=1)), atol=1e-4)


@needs_kernel
@pytest.mark.parametrize("chosen", [BEST, kernels.NUMPY])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_that_are_not_finite_have_no_norm(chosen: kernels.KernelSet, value: float) -> None:
    arrays, _ = random_table(208, 48)
    states = np.random.default_rng(0).standard_normal((3, 48), np.float32)
    states[1, 40] = value
    norm = part_of(chosen, _Table(arrays)).bound(states).run(3, 3, 1)
    assert np.isnan(norm).tolist() == [False, True, False]


@needs_kernel
def test_logits_of_a_bundle_as_its_graphs_give_them() -> None:
    kernel, graph = (Vocabulary(VocabularyGraphs(MODEL, provider), 8) for provider in ("auto", "cpu"))
    kernel.states[:] = np.random.default_rng(0).standard_normal(kernel.states.shape)
    graph.states[:] = kernel.states
    ours, theirs = kernel.scores(8), graph.scores(8)
    assert [part.shape for part in ours.parts] == [part.shape for part in theirs.parts]
    assert off(ours.rows(), theirs.rows()) < 0.01
    np.testing.assert_allclose(ours.norm, theirs.norm, atol=0.05)
    likely, rows = kernel.scores(8, ruled=8, most=3).likely, ours.rows()
    assert likely is not None
    assert likely.ids.tolist() == np.argsort(-rows, axis=1, kind="stable")[:, :3].tolist()
    assert graph.scores(8, ruled=8, most=3).likely is None


@needs_kernel
def test_who_uses_them(tmp_path: Path) -> None:
    def uses(folder: Path, provider: str) -> tuple[bool, set[type]]:
        by_kernel = isinstance(CpuEncoder(folder, Cores(1), provider)._run, EncoderKernel)
        return by_kernel, {type(part) for part in VocabularyGraphs(folder, provider).parts}

    assert uses(MODEL, "auto") == (True, {_Kernel})
    assert uses(MODEL, "cpu") == (False, {_Graph})
    older = shutil.copytree(MODEL, tmp_path / "older")
    for name, constant in (("encoder", b"encoder.conv1.int8"), ("vocabulary_0", b"vocabulary.int8")):
        graph = older / f"{name}.onnx"
        graph.write_bytes(graph.read_bytes().replace(constant, constant.replace(b".", b"_")))
    assert uses(older, "auto") == (False, {_Graph, _Kernel})


@pytest.mark.parametrize(
    "sizes", [(10, 3, 8, 96, 80), (10, 1, 80, 96, 80), (10, 2, 16, 100, 80), (10, 2, 16, 64, 77)]
)
def test_sizes_that_are_left_to_onnx_runtime(sizes: tuple[int, int, int, int, int]) -> None:
    assert not fits(random_encoder(*sizes), sizes[1])


@needs_kernel
def test_libraries_that_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernels, "_HERE", tmp_path)
    assert kernels.all_sets() == []
    (tmp_path / "_kernels.cpython-313-aarch64-linux-gnu.so").write_bytes(b"\x7fELF of another machine")
    assert kernels.all_sets() == []
    built = next(Path(kernels.__file__).parent.glob("_kernels*.so"))
    shutil.copy(built, tmp_path / "_kernels.so")
    assert [one.name for one in kernels.all_sets()] == [one.name for one in SETS]
    monkeypatch.setattr(kernels, "_VERSION", kernels._VERSION + 1)
    assert kernels.all_sets() == []


@needs_kernel
def test_a_set_by_name_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = kernels.in_use.__wrapped__
    assert choose() == BEST
    monkeypatch.setenv("ASR_BATCH_KERNELS", "portable")
    assert choose().name == "portable"
    monkeypatch.setenv("ASR_BATCH_KERNELS", "none")
    assert choose() == kernels.NUMPY


def test_the_doctor_says_which_set_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "in_use", lambda: kernels.KernelSet("avx2", 16, 4, None))
    assert (_kernels().state, _kernels().text) == ("ok", "avx2, in use")
    monkeypatch.setattr(kernels, "in_use", lambda: kernels.NUMPY)
    monkeypatch.setattr(kernels, "_HERE", Path("/nowhere"))
    assert (_kernels().state, "not compiled" in _kernels().text) == ("note", True)


def test_why_numpy_does_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernels, "in_use", kernels.in_use.__wrapped__)
    monkeypatch.setattr(kernels, "_HERE", tmp_path)
    assert "not compiled" in kernels.why_numpy()
    (tmp_path / "_kernels.so").write_bytes(b"\x7fELF of another machine")
    assert re.search(r"_kernels.so is of another version, .*pip install --no-deps -e \.", kernels.why_numpy())
    monkeypatch.setenv("ASR_BATCH_KERNELS", "none")
    assert kernels.why_numpy() == ""


@needs_kernel
def test_a_set_that_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "in_use", kernels.in_use.__wrapped__)
    assert kernels.why_numpy() == ""
    monkeypatch.setenv("ASR_BATCH_KERNELS", "mmx")
    assert kernels.why_numpy().startswith("ASR_BATCH_KERNELS is 'mmx'; expected ")


def test_they_were_compiled_where_they_can_be() -> None:
    """A compiler, and yet no kernel: the installation is broken and silently slow."""
    if shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is None:
        pytest.skip("no compiler")
    assert SETS[-1].name == "portable"
    flags = Path("/proc/cpuinfo").read_text(errors="replace") if platform.machine() == "x86_64" else ""
    assert ("avx2" in flags) == any(one.name == "avx2" for one in SETS)
    assert ("avx512_vnni" in flags) == (SETS[0].name == "avx512vnni")


@needs_kernel
def test_readers_of_one_thread_share_the_memory_of_their_logits() -> None:
    graphs = VocabularyGraphs(MODEL, "auto")
    whole = Vocabulary(graphs, 8)
    few, many, apart = Vocabulary(graphs, 5, whole), Vocabulary(graphs, 9, whole), Vocabulary(graphs, 5)
    few.states[:] = apart.states[:] = np.random.default_rng(0).standard_normal(few.states.shape)
    right = apart.scores(5, ruled=5, most=3)
    ours = few.scores(5, ruled=5, most=3)
    np.testing.assert_array_equal(ours.rows(), right.rows())
    assert ours.likely is not None
    assert right.likely is not None
    np.testing.assert_array_equal(ours.likely.ids, right.likely.ids)
    theirs = [whole.scores(8).parts, many.scores(9).parts, right.parts]
    shared = [any(map(np.shares_memory, ours.parts, parts)) for parts in theirs]
    assert shared == [True, False, False]


def test_pages_begin_as_zeros_that_can_be_written() -> None:
    first, second = (page_by_page((3, 5, 1000), np.float32) for _ in range(2))
    assert (first.shape, first.dtype, first.any()) == ((3, 5, 1000), np.float32, False)
    first[1, 2] = 7
    assert (first.sum(), second.any()) == (7000, False)
