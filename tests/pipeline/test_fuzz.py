"""Files of every kind cut, zeroed and flipped at random: no crash, no hang, no loss that goes unsaid.

A row may be `ok` where no more than a second of sound is missing and none is off by more than a second. The
long test takes minutes: `pytest tests/pipeline/test_fuzz.py -m slow -s` (set by `FUZZ_FILES` and
`FUZZ_SEED`, prints a table).
"""

from __future__ import annotations

import io
import os
import random
import time
from collections import Counter
from collections.abc import Iterator

import av
import numpy as np
import pytest
from sound_files import KINDS, damaged, heard, written
from sweeps import lost, sweep

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.audio.shortfall import MISSING

SECONDS = 20
WAYS = ("cut", "zero", "flip")
FILES = int(os.environ.get("FUZZ_FILES", "2000"))
SEED = int(os.environ.get("FUZZ_SEED", "7"))
BARE = ("a.aac", "a.ac3", "a.ts")
"""Containers that tell neither their length nor their end: cut between two frames, they are whole files."""

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder, tune = tmp_path_factory.mktemp("good"), sweep(SECONDS)
    return {name: written(folder, name, tune).read_bytes() for name in KINDS}


def borders(data: bytes) -> set[int]:
    """Bytes at which a frame (or the unit of a transport stream that holds some) begins."""
    with av.open(io.BytesIO(data)) as container:
        return {packet.pos for packet in container.demux(audio=0) if packet.size}


def judged(data: bytes) -> tuple[str, float, float]:
    """What a row would say of the file; seconds that are missing and seconds that are off."""
    try:
        samples, stream = heard(data)
    except ItemError as error:
        return error.code, SECONDS, 0.0
    wrong = stream.short or stream.damage.seconds > MISSING
    wrong = wrong or stream.damage.broken_off or stream.damage.disordered
    if stream.end < 0.02:
        return "too_short", SECONDS, 0.0
    return "partial" if wrong else "ok", *lost(samples, SECONDS)


def files(good: Files, count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Name, kind of damage and bytes, in turn."""
    rng = random.Random(seed)
    for index in range(count):
        name = sorted(good)[index % len(good)]
        how = WAYS[index // len(good) % len(WAYS)]
        yield name, how, damaged(good[name], how, rng)


def fuzz(good: Files, count: int, seed: int) -> tuple[Counter[tuple[str, str, str]], list[str], float]:
    """Files by name, damage and status; those that lost a second without a word; seconds of the slowest."""
    table, silent, slowest = Counter[tuple[str, str, str]](), [], 0.0
    for index, (name, how, data) in enumerate(files(good, count, seed)):
        began = time.process_time()
        status, missing, off = judged(data)
        slowest = max(slowest, time.process_time() - began)
        if status == "ok" and (missing > 1.0 or off > 0.0):
            if how == "cut" and name in BARE and len(data) in borders(good[name]):
                status = "a whole file"
            else:
                silent.append(f"{name} {how} number {index}: {missing:.2f} s missing, {off:.2f} s elsewhere")
        table[name, how, status] += 1
    return table, silent, slowest


def test_what_is_lost_is_measured() -> None:
    tune = sweep(SECONDS)
    silence = np.zeros(32_000, np.float32)
    assert lost(tune, SECONDS) == (0.0, 0.0)
    missing, off = lost(np.concatenate((tune[:80_000], silence, tune[112_000:])), SECONDS)
    assert missing == pytest.approx(2.0, abs=0.25)
    assert off == 0.0
    missing, off = lost(np.concatenate((tune[:80_000], tune[112_000:])), SECONDS)
    assert off == pytest.approx(13.0, abs=0.5)
    assert lost(tune[8000:], SECONDS) == (pytest.approx(0.3, abs=0.15), 0.0)
    assert lost(np.zeros(0, np.float32), SECONDS)[0] == pytest.approx(SECONDS - 0.4, abs=0.1)


@pytest.mark.timeout(300)
def test_sixty_damaged_files(good: Files) -> None:
    _, silent, slowest = fuzz(good, 60, 1)
    assert not silent
    assert slowest < 10


@pytest.mark.parametrize("name", BARE)
def test_nothing_tells_that_a_bare_file_goes_on(good: Files, name: str) -> None:
    """Cut between two frames it is the file that its encoder had written by then, byte for byte."""
    places = sorted(borders(good[name]))
    place = places[len(places) // 2]
    assert judged(good[name][:place])[0] == "ok"
    assert judged(good[name][: place + 5])[0] == "partial"
    assert judged(good[name][:place] + bytes(len(good[name]) - place))[0] == "partial"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_thousand_damaged_files(good: Files) -> None:
    table, silent, slowest = fuzz(good, FILES, SEED)
    for name in sorted(good):
        cells = [(how, {s: n for (a, h, s), n in table.items() if (a, h) == (name, how)}) for how in WAYS]
        print(name, *(f"{how}: {found}" for how, found in cells), sep="  ")
    print(f"{FILES} files, slowest {slowest:.1f} s")
    print(*silent, sep="\n")
    assert not silent
    assert slowest < 60
