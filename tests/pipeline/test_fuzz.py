"""Files of every kind cut, zeroed and flipped at random: no crash, no hang, no loss that goes unsaid.

The long one takes minutes: `pytest tests/pipeline/test_fuzz.py -m slow -s` (set by `FILES`, prints a table).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import numpy as np
import pytest
from sound_files import KINDS, clicks, damaged, heard, onsets, written

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.track import MISSING

SECONDS = 20
WAYS = ("cut", "zero", "flip")
FILES = int(os.environ.get("FUZZ_FILES", "2000"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, tune = tmp_path_factory.mktemp("good"), clicks(SECONDS)
    return {name: written(folder, name, tune).read_bytes() for name in KINDS}


def lost(samples: np.ndarray, expected: list[float]) -> int:
    """Bursts that are not at their place, beyond the one that a damage may touch at either side."""
    found = np.array([*onsets(samples), -1.0])
    return sum(float(np.abs(found - second).min()) > 0.2 for second in expected)


def judged(data: bytes, expected: list[float]) -> tuple[str, int]:
    """What a row would say of the file, and how many bursts are gone."""
    try:
        samples, stream = heard(data)
    except ItemError as error:
        return error.code, SECONDS
    wrong = stream.short or stream.damage.seconds > MISSING
    wrong = wrong or stream.damage.broken_off or stream.damage.disordered
    if stream.end < 0.02:
        return "too_short", SECONDS
    return ("partial" if wrong else "ok"), lost(samples, expected)


def fuzz(
    good: dict[str, bytes], count: int, seed: int
) -> tuple[Counter[tuple[str, str, str]], list[str], float]:
    rng, table, silent, slowest = random.Random(seed), Counter[tuple[str, str, str]](), [], 0.0
    truth = {name: [s for s in onsets(heard(data)[0]) if s > 0.5] for name, data in good.items()}
    for index in range(count):
        name = sorted(good)[index % len(good)]
        how = WAYS[index // len(good) % len(WAYS)]
        state = rng.getstate()
        data = damaged(good[name], how, rng)
        began = time.monotonic()
        status, gone = judged(data, truth[name])
        slowest = max(slowest, time.monotonic() - began)
        table[name, how, status] += 1
        if status == "ok" and gone > 1:
            silent.append(f"{name} {how} number {index}: {gone} of {len(truth[name])} bursts are gone")
        assert state != rng.getstate()
    return table, silent, slowest


@pytest.mark.timeout(120)
def test_sixty_damaged_files(good: dict[str, bytes]) -> None:
    _, silent, slowest = fuzz(good, 60, 1)
    assert not silent
    assert slowest < 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_thousand_damaged_files(good: dict[str, bytes]) -> None:
    table, silent, slowest = fuzz(good, FILES, 7)
    for name in sorted(good):
        cells = [(how, {s: n for (a, h, s), n in table.items() if (a, h) == (name, how)}) for how in WAYS]
        print(name, *(f"{how}: {found}" for how, found in cells), sep="  ")
    print(f"{FILES} files, slowest {slowest:.1f} s")
    print(*silent, sep="\n")
    assert not silent
    assert slowest < 60
