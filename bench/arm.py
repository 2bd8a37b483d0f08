"""Counts the instructions of the kernels on ARM under an emulator, because no ARM hardware was available.

    python -m bench.arm [SET]

Builds the kernels with a cross compiler, runs one window of Whisper-tiny's size (10 s and the silence
after it, random weights) under an emulator that logs every block of instructions, and prints the counts:
for the encoder of a window, its cross-attention keys and values, a decoder step of 16 windows, and its
logits. Then prints the analysis of the inner loop by llvm-mca. Needs gcc-aarch64-linux-gnu,
qemu-user-static, llvm.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tests" / "kernels")]

import test_replay as replay  # noqa: E402
from kernel_models import decoder_config, random_decoder, random_encoder, random_table  # noqa: E402

from asr_batch.models.kernels import library  # noqa: E402
from asr_batch.models.whisper.kernels import decoder as decoding  # noqa: E402
from asr_batch.models.whisper.kernels.encoder import _in_order  # noqa: E402

PROCESSORS = {"neon": "cortex-a72", "neondot": "cortex-a76", "neoni8mm": "max"}
LAYOUTS = {"neon": (16, 4), "neondot": (16, 4), "neoni8mm": (16, 8)}
HEADS, WIDTH, FFN, LAYERS, MELS, TOKENS = 6, 64, 1536, 4, 80, 51872
POSITIONS, STORED, SLOTS, AT = 520, 576, 16, 20
D = HEADS * WIDTH
Layout = library.KernelSet


def unknown(*shape: int) -> replay.Expected:
    """Values that do not matter: only the counts are used."""
    return replay.Expected(np.zeros(shape, np.float32))


def encoder(layout: Layout) -> Iterator[bytes]:
    arrays = random_encoder(POSITIONS, HEADS, WIDTH, FFN, MELS, LAYERS)
    sound = np.random.default_rng(0).uniform(-1, 1, (MELS, 2 * POSITIONS)).astype(np.float32)
    shape = np.array([MELS, POSITIONS, D, HEADS, FFN, LAYERS], np.int64)
    weights = list(_in_order(layout, arrays, LAYERS))
    yield replay.call("encoder_run", shape, weights, sound, unknown(POSITIONS, D), replay.Scratch(1 << 26))


def cross(layout: Layout) -> Iterator[bytes]:
    arrays = random_decoder(HEADS, WIDTH, FFN, LAYERS)
    hidden = np.random.default_rng(0).standard_normal((STORED, D), np.float32)
    shape = np.array([D, HEADS, WIDTH, LAYERS], np.int64)
    weights = list(decoding._cross_in_order(layout, arrays, LAYERS))
    bias, work = np.zeros(STORED, np.float32), replay.Scratch(1 << 24)
    yield replay.call("cross_run", shape, weights, hidden, bias, STORED, replay.Shared(0), work)


def step(layout: Layout) -> Iterator[bytes]:
    arrays, config = random_decoder(HEADS, WIDTH, FFN, LAYERS), decoder_config(HEADS, WIDTH, FFN, LAYERS)
    tokens = np.zeros(SLOTS, decoding.TOKEN)
    tokens["id"], tokens["position"], tokens["slot"] = 7, AT - 1, range(SLOTS)
    tokens["stored"] = STORED
    shape = np.array([D, HEADS, WIDTH, FFN, LAYERS, AT, 2, STORED // 4, 1], np.int64)
    weights = [arrays["decoder.embed_tokens.int8"], *decoding._in_order(layout, arrays, config)]
    caches = [np.ones((SLOTS, HEADS, AT, WIDTH), np.float32)] * 2 * LAYERS
    followed = np.array([(LAYERS - 2, 0), (LAYERS - 1, 3)], np.int64)
    told = unknown(SLOTS, D), unknown(SLOTS, STORED // 4), 0, STORED, replay.Scratch(1 << 24)
    yield from cross(layout)  # subtracted below
    yield replay.call("decoder_run", shape, weights, replay.Tokens(tokens), SLOTS, caches, followed, *told)


def logits(layout: Layout) -> Iterator[bytes]:
    arrays, _ = random_table(TOKENS, D)
    weights = list(layout.linear(arrays["vocabulary.int8"].T, arrays["vocabulary.scale"], None))
    states = np.random.default_rng(0).standard_normal((SLOTS, D), np.float32)
    made = unknown(SLOTS, TOKENS), unknown(SLOTS, 2), SLOTS, 1, unknown(SLOTS), replay.Scratch(1 << 20)
    yield replay.call("vocabulary_run", SLOTS, D, TOKENS, [*weights, weights[-1]], states, *made)


Kind = Callable[[int], bool]


def every(_: int) -> bool:
    """Any instruction."""
    return True


def product(one: int) -> bool:
    """Byte products: sdot by element, usmmla, smull of vectors."""
    return one & 0xFFC0F400 == 0x4F80E000 or one & 0xFFE0FC00 == 0x4E80AC00 or one & 0xBFE0FC00 == 0x0E20C000


def load(one: int) -> bool:
    """Loads, of one register or two."""
    return one & 0x0A000000 == 0x08000000 and bool(one & 0x00400000)


def store(one: int) -> bool:
    """Stores, of one register or two."""
    return one & 0x0A000000 == 0x08000000 and not one & 0x00400000


KINDS = (every, product, load, store)


class Executed:
    """Blocks of executed instructions, and their counts."""

    def __init__(self, command: list[str]) -> None:
        self.blocks: dict[int, list[int]] = {}
        self.runs: Counter[int] = Counter()
        block: list[int] = []
        log = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert log.stdout is not None
        for line in log.stdout:
            if line.startswith("Trace "):
                self.runs[int(line.split("/", 2)[1], 16)] += 1
            elif line.startswith("IN:"):
                block = []
            elif line.startswith("0x"):
                address, _, rest = line.partition(":")
                if not block:
                    self.blocks[int(address, 16)] = block
                block.append(int(rest.split(None, 1)[0], 16))
        log.wait()

    def count(self, kind: Kind) -> int:
        """Number of executed instructions of a kind."""
        return sum(times * sum(map(kind, self.blocks[at])) for at, times in self.runs.items())

    def hottest(self) -> list[int]:
        """The block with the most executed instructions."""
        return self.blocks[max(self.runs, key=lambda at: self.runs[at] * len(self.blocks[at]))]


def executed(program: Path, folder: Path, name: str, layout: Layout, calls: Iterator[bytes]) -> Executed:
    found = list(calls)
    path = folder / "calls"
    path.write_bytes(replay.integers(1, layout.panel, layout.depth, len(found)) + b"".join(found))
    qemu = ["qemu-aarch64-static", "-cpu", PROCESSORS[name], "-d", "in_asm,exec,nochain"]
    return Executed([*qemu, str(program), str(path), name])


def llvm_mca(block: list[int], processor: str) -> str:
    """Cycles of a loop whose body is `block`, and the body."""
    bytes_of = " ".join(f"0x{byte:02x}" for one in block for byte in one.to_bytes(4, "little"))
    options = ["-triple=aarch64", f"-mcpu={processor}", "-mattr=+dotprod,+i8mm"]
    command = ["llvm-mc", "-disassemble", *options]
    listed = subprocess.run(command, input=bytes_of, capture_output=True, text=True, check=True)
    body = "\n".join(line for line in listed.stdout.splitlines() if not line.strip().startswith("."))
    options = ["-mtriple=aarch64", f"-mcpu={processor}", "-mattr=+dotprod,+i8mm", "-iterations=100", "-"]
    done = subprocess.run(["llvm-mca", *options], input=body, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if re.match("Instructions|Total|Block", line)]
    return "\n".join([body, *lines, done.stderr])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("set", choices=LAYOUTS, nargs="?", default="neondot")
    name = parser.parse_args().set
    layout = Layout(name, *LAYOUTS[name], None)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        program = replay.built(folder, replay.ARM, "-O2", "-static")
        print(f"{name}, {PROCESSORS[name]}: millions of instructions executed")
        print(f"{'':10} {'all':>8} {'products':>8} {'loads':>8} {'stores':>8}")
        before = {encoder: None, cross: None, step: cross, logits: None}
        done = {None: executed(program, folder, name, layout, iter(()))}
        for part, less in before.items():
            done[part] = executed(program, folder, name, layout, part(layout))
            counts = [(done[part].count(one) - done[less].count(one)) / 1e6 for one in KINDS]
            print(f"{part.__name__:10} " + " ".join(f"{count:8.1f}" for count in counts), flush=True)
        loop = done[encoder].hottest()
        print(llvm_mca(loop, "cortex-a76" if name == "neondot" else "neoverse-n1"))


if __name__ == "__main__":
    main()
