"""Every set of kernels gives the same numbers: calls recorded here are replayed by a program in C, built for
this machine and, with a cross compiler, for ARM. Emulators run it as the processors of users would.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from kernel_models import decoder_config, random_decoder, random_encoder, random_table

from asr_batch.models.kernels import library
from asr_batch.models.silero import kernel as silero
from asr_batch.models.silero.exact import ExactSilero
from asr_batch.models.silero.weights import CHUNK, WIDTH
from asr_batch.models.whisper.engine.logits import _Kernel, _Table
from asr_batch.models.whisper.kernels import decoder as decoding
from asr_batch.models.whisper.kernels.decoder import DecoderKernel, tokens_of
from asr_batch.models.whisper.kernels.encoder import EncoderKernel, _in_order

C = Path(library.__file__).parent / "c"
SETS = library.all_sets()
LAYOUTS = [(64, 4), (16, 4), (16, 8)]
FLAGS = (
    "-O2 -std=c11 -ffp-contract=off -fno-tree-pre -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror"
)
ARM = "aarch64-linux-gnu-gcc"
X86 = "qemu-x86_64-static"
Array = np.ndarray


@dataclass(frozen=True)
class Expected:
    """An argument that the call writes."""

    after: Array


@dataclass(frozen=True)
class Scratch:
    size: int


@dataclass(frozen=True)
class Shared:
    """Memory that one call writes and another reads."""

    which: int


@dataclass(frozen=True)
class Tokens:
    """Tokens whose `cross` says which shared memory they listen to."""

    tokens: Array


Argument = int | Array | list[Array] | Expected | Scratch | Shared | Tokens


def integers(*numbers: int) -> bytes:
    return np.array(numbers, "<i8").tobytes()


def written(argument: Argument) -> Iterator[bytes]:
    """An argument as replay.c reads it."""
    match argument:
        case int():
            yield integers(0, argument)
        case np.ndarray():
            yield integers(1, argument.nbytes) + argument.tobytes()
        case Expected(after):
            yield integers(2, after.nbytes) + after.tobytes()
        case list():
            yield integers(3, len(argument))
            yield from (integers(one.nbytes) + one.tobytes() for one in argument)
        case Scratch(size):
            yield integers(4, size)
        case Shared(which):
            yield integers(5, which)
        case Tokens(tokens):
            yield integers(6, tokens.nbytes) + tokens.tobytes()


def call(name: str, *arguments: Argument) -> bytes:
    parts = [integers(len(name) + 1), name.encode() + b"\0", integers(len(arguments))]
    return b"".join([*parts, *(part for one in arguments for part in written(one))])


def encoder_call(layout: library.KernelSet, positions: int, heads: int, width: int, ffn: int) -> bytes:
    arrays, mels = random_encoder(positions, heads, width, ffn, 80), 80
    sound = np.random.default_rng(1).uniform(-1, 1, (1, mels, 2 * positions)).astype(np.float32)
    right = EncoderKernel(SETS[0], arrays, heads)(sound)
    shape = np.array([mels, positions, heads * width, heads, ffn, 2], np.int64)
    weights = list(_in_order(layout, arrays, 2))
    return call("encoder_run", shape, weights, sound, Expected(right), Scratch(1 << 24))


def vocabulary_call(layout: library.KernelSet, tokens: int, d: int, count: int) -> bytes:
    arrays, _ = random_table(tokens, d)
    states = np.random.default_rng(1).standard_normal((count, d), np.float32)
    kernel = _Kernel(SETS[0], _Table(arrays, range(0, tokens, 5)))
    bound, ruled, most = kernel.bound(states), count // 2, 4
    bound.run(count, ruled, most)
    rules = np.where(np.arange(tokens) % 5, np.float32(0), np.float32(-1e30))
    weights = [*layout.linear(arrays["vocabulary.int8"].T, arrays["vocabulary.scale"], None), rules]
    made = Expected(bound.logits), Expected(bound._norm), ruled, most
    ids = Expected(bound.ids.reshape(-1)[: ruled * most])
    return call("vocabulary_run", count, d, tokens, weights, states, *made, ids, Scratch(1 << 20))


def decoder_calls(layout: library.KernelSet, heads: int, width: int, ffn: int) -> Iterator[bytes]:
    """Two windows, then a prompt for the first, and one token each for two slots that listen to the second,
    behind what random caches hold.
    """
    arrays, config = random_decoder(heads, width, ffn), decoder_config(heads, width, ffn)
    kernel, d, layers = DecoderKernel(SETS[0], arrays, config), heads * width, config.decoder_layers
    rng, windows = np.random.default_rng(width), []
    weights = list(decoding._cross_in_order(layout, arrays, layers))
    for which, stored in enumerate((37, 100)):
        hidden = rng.standard_normal((stored, d), np.float32)
        bias = rng.uniform(0, 3, stored).astype(np.float32)
        windows.append(kernel.project(hidden, bias, stored))
        shape = np.array([d, heads, width, layers], np.int64)
        yield call("cross_run", shape, weights, hidden, bias, stored, Shared(which), Scratch(1 << 22))
    caches = kernel.caches(3, 7)
    caches.reserve(13)
    for piece in caches.pieces:
        piece[:] = rng.standard_normal(piece.shape)
    before = [layer.copy() for piece in caches.pieces for layer in piece]
    given = [*range(7), 9, 11], [*range(7), 5, 12], [0] * 7 + [1, 2], [0] * 7 + [1, 1]
    tokens = tokens_of(*given[:3], [windows[which] for which in given[3]])
    made = [
        np.zeros(shape, np.float32) for shape in ((9, d), (9, kernel.groups), (9, len(kernel.followed), 100))
    ]
    attention = made[2]
    kernel.run(tokens, caches, *made[:2], kernel.scratch(caches), attention)
    tokens["cross"] = given[3]
    shape = np.array([d, heads, width, ffn, layers, 7, 2, kernel.groups, 2], np.int64)
    weights = [arrays["decoder.embed_tokens.int8"], *decoding._in_order(layout, arrays, config)]
    told = Expected(made[0]), Expected(made[1]), Expected(attention)
    more = kernel.followed, *told, 100, Scratch(1 << 24)
    yield call("decoder_run", shape, weights, Tokens(tokens), 9, before, *more)


def silero_call(layout: library.KernelSet, count: int) -> bytes:
    chunks = np.random.default_rng(count).uniform(-1, 1, (count, CHUNK)).astype(np.float32)
    state = np.zeros((2, WIDTH), np.float32)
    right = ExactSilero()(chunks, state)
    made = Expected(state), Expected(right), Scratch(1 << 18)
    return call("silero_run", count, list(silero.in_order(layout)), chunks, *made)


def calls(layout: library.KernelSet) -> Iterator[bytes]:
    for sizes in (
        (1, 1, 16, 16),
        (7, 3, 16, 96),
        (9, 2, 48, 96),
        (11, 5, 16, 80),
        (49, 1, 48, 208),
        (66, 2, 64, 512),
    ):
        yield encoder_call(layout, *sizes)
    for sizes in ((1, 16, 16), (3, 48, 80), (2, 64, 256)):
        yield from decoder_calls(layout, *sizes)
    for sizes in ((16, 16, 1), (208, 48, 7), (1008, 64, 16)):
        yield vocabulary_call(layout, *sizes)
    for count in (1, 29):
        yield silero_call(layout, count)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not SETS:
        pytest.skip("no compiler at installation")
    path = tmp_path_factory.mktemp("kernels") / "calls"
    with path.open("wb") as file:
        file.write(integers(len(LAYOUTS)))
        for panel, depth in LAYOUTS:
            found = list(calls(library.KernelSet("", panel, depth, None)))
            file.write(integers(panel, depth, len(found)) + b"".join(found))
    return path


def needed(*programs: str) -> None:
    """Skip where a program is missing; fail where it must be there, as in .ci/run."""
    missing = [one for one in programs if shutil.which(one) is None]
    if missing and os.environ.get("ASR_BATCH_CROSS") == "1":
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def built(folder: Path, compiler: str, *more: str) -> Path:
    """The program of `compiler`, with the options of setup.py and `more`."""
    program = folder / "replay"
    sources = [Path(__file__).parent / "replay.c", C / "dispatch.c", *(C / "simd").glob("*.c")]
    objects = [folder / f"{source.stem}.o" for source in sources]
    jobs = [
        subprocess.Popen([compiler, *FLAGS.split(), *more, "-c", source, "-o", target])
        for source, target in zip(sources, objects, strict=True)
    ]
    assert [job.wait() for job in jobs] == [0] * len(jobs)
    subprocess.run([compiler, *more, *objects, "-lm", "-o", program], check=True)
    return program


@pytest.fixture(scope="module")
def for_arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed(ARM, "qemu-aarch64-static")
    return built(tmp_path_factory.mktemp("arm"), ARM, "-O2", "-static")


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("processor", "names"),
    [("cortex-a72", ["neon"]), ("cortex-a76", ["neondot"]), ("max", ["neoni8mm", "neondot"])],
)
def test_on_arm_as_here(processor: str, names: list[str], for_arm: Path, recorded: Path) -> None:
    said = run("qemu-aarch64-static", "-cpu", processor, for_arm, recorded, *names)
    assert [line.split(":")[0] for line in said.splitlines()] == names
    assert said.count(", right") == len(names)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="for x86-64")
@pytest.mark.parametrize(
    ("processor", "names"), [("Haswell", ["avx2", "portable"]), ("Nehalem", ["portable"])]
)
def test_on_older_x86_as_here(processor: str, names: list[str], tmp_path: Path, recorded: Path) -> None:
    """The best set that each can run comes first. The emulator knows neither AVX-VNNI nor AVX-512."""
    needed("gcc", X86)
    if qemu_version() < (7, 2):
        pytest.skip("the emulator knows AVX2 since version 7.2")
    said = run(X86, "-cpu", processor, built(tmp_path, "gcc", "-static"), recorded)
    assert [line.split(":")[0] for line in said.splitlines()] == names
    assert said.count(", right") == len(names)


def qemu_version() -> tuple[int, ...]:
    found = re.search(r"version (\d+)\.(\d+)", run(X86, "--version"))
    assert found is not None
    return tuple(map(int, found.groups()))


def test_arm_chooses_by_the_processor(for_arm: Path, recorded: Path) -> None:
    """A Cortex-A72 has no dot products; asked for them, the program says that it cannot."""
    command = ["qemu-aarch64-static", "-cpu", "cortex-a72", for_arm, recorded, "neondot"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "this machine cannot run all of them\n")


def test_elementary_functions(tmp_path: Path) -> None:
    """As exact as arithmetic.h says; other sets give the same numbers as this one."""
    needed("gcc")
    source, program = Path(__file__).parent / "functions.c", tmp_path / "functions"
    unused = ["-Wno-unused-function", "-D_GNU_SOURCE", f"-I{C / 'simd'}"]
    subprocess.run(["gcc", *FLAGS.split(), *unused, source, "-lm", "-o", program], check=True)
    power, gelu, right = map(float, run(program).split())
    assert (power < 3e-6, gelu < 6e-7, right) == (True, True, 1)


@pytest.mark.slow
def test_here_with_sanitizers(tmp_path: Path, recorded: Path) -> None:
    """Out of bounds, overflow and reads of memory that nobody wrote end the program."""
    needed("gcc")
    program = built(tmp_path, "gcc", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert run(program, recorded).count(", right") == len(SETS)


def test_other_numbers_are_told(tmp_path: Path, recorded: Path, for_arm: Path) -> None:
    data = bytearray(recorded.read_bytes())
    data[-17] ^= 1  # the last byte that the last call is expected to give, before its scratch memory
    wrong = tmp_path / "wrong"
    wrong.write_bytes(data)
    command = ["qemu-aarch64-static", "-cpu", "max", for_arm, wrong, "neoni8mm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "silero_run gives other numbers" in done.stdout
