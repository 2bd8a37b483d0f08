"""The whole way, from a mixed manifest to the data set, with the second family behind the seam."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

ROOT = Path(__file__).parent.parent.parent
MODEL = ROOT / "tests" / "data" / "qwen3_asr_tiny"
CASES = json.loads((MODEL / "expected.json").read_text(encoding="utf-8"))["cases"]
CODES = {"German": "de", "English": "en", "Chinese": "zh"}


def run(folder: Path, *options: str, model: Path = MODEL) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_batch.jobs", "run", "m.csv", "--out", "out", "--no-ray"]
    command += ["--model", str(model), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def rows(folder: Path, table: str = "transcripts") -> list[dict]:
    return ds.dataset(folder / "out" / table, format="parquet").to_table().to_pylist()


def manifest(folder: Path, lines: list[dict[str, str]]) -> None:
    with (folder / "m.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["id", "audio", "language", "prompt"])
        writer.writeheader()
        writer.writerows(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(MODEL / "signals", tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_mixed_manifest_gives_the_reference_texts(folder: Path, precision: str) -> None:
    lines = [
        {
            "id": str(number),
            "audio": f"{case['signal']}.wav",
            "language": CODES.get(case["force_language"], ""),
            "prompt": case["context"],
        }
        for number, case in enumerate(CASES)
    ]
    manifest(folder, [*lines, {"id": "bad", "audio": "s1.wav", "language": "xx", "prompt": ""}])
    done = run(folder, "--plain", "--max-new-tokens", "24", "--precision", precision)
    assert done.returncode == 3, done.stderr
    found = {row["id"]: row for row in rows(folder)}
    assert found["bad"]["error_code"] == "bad_language"
    for number, case in enumerate(CASES):
        want = case if precision == "fp32" else case["int4"]
        if precision == "fp32" or want["robust"]:
            assert found[str(number)]["text"] == want["text"]
            assert found[str(number)]["language"] == CODES[want["language"]]
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["model"]["precision"] == ("fp32" if precision == "fp32" else "int4")
    assert summary["model"]["family"] == "qwen3-asr"


def test_long_file_is_cut_into_windows_that_tile_it(folder: Path) -> None:
    names = ("s1", "s2", "s3", "s4_odd")
    sound = b"".join((folder / f"{name}.wav").read_bytes()[44:] + bytes(24_000) for name in names) * 3
    with wave.open(str(folder / "long.wav"), "wb") as handle:
        handle.setparams((1, 2, 16_000, 0, "NONE", ""))
        handle.writeframes(sound)
    manifest(folder, [{"id": "long", "audio": "long.wav", "language": "en", "prompt": ""}])
    done = run(folder, "--window", "12", "--max-new-tokens", "16")
    assert done.returncode in (0, 3), done.stderr
    windows = sorted(rows(folder, "windows"), key=lambda one: one["start"])
    assert len(windows) > 5
    assert max(one["end"] - one["start"] for one in windows) <= 12.0 + 1e-6
    assert windows[0]["keep_start"] == 0.0
    assert windows[-1]["keep_end"] == pytest.approx(len(sound) / 32_000, abs=1e-6)
    edges = [(left["keep_end"], right["keep_start"]) for left, right in pairwise(windows)]
    assert all(left == pytest.approx(right, abs=1e-9) for left, right in edges)
    # The signals are no speech: what is written about them is left out, and kept beside.
    assert any(one["text"] or one["hypotheses"] for one in windows)
    assert np.isnan(windows[0]["no_speech_prob"]) or windows[0]["no_speech_prob"] is None


def test_damaged_model_stops_before_any_work(folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(MODEL, tmp_path / "broken"))
    (broken / "decoder_weights.data").unlink()
    manifest(folder, [{"id": "a", "audio": "s1.wav", "language": "", "prompt": ""}])
    done = run(folder, "--precision", "fp32", model=broken)
    assert done.returncode == 2, done.stderr
    assert "decoder_weights.data, which is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_outside_models_knows_the_family() -> None:
    named = re.compile(r"qwen", re.IGNORECASE)
    places = [
        f"{path.relative_to(ROOT)}:{number}"
        for room in ("manifests", "pipeline", "workers", "jobs")
        for path in (ROOT / room).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if named.search(line) and "help=" not in line
    ]
    assert not places
