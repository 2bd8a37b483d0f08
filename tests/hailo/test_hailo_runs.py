"""Whole jobs on the double: the bundled nano.en with a HEF, faults in the middle, drift found afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import hef_writing
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from asr_batch.jobs.bench import latency  # noqa: E402
from asr_batch.models.load import load_recognizer  # noqa: E402
from asr_batch.models.recognizer import (  # noqa: E402
    DecodeOptions,
    LoadOptions,
    WindowRequest,
)
from asr_batch.models.whisper.opening import take_hef  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ("studio.flac", "telephone.wav", "call.wav", "mix.wav")


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    """The bundled demo model with its own encoder as HEF for a Hailo-8L."""
    folder = tmp_path / "nano"
    shutil.copytree(ROOT / "models" / "bundled" / "nano.en", folder)
    graph = onnx.load(folder / "encoder.onnx").SerializeToString()
    path = hef_writing.write_hef(tmp_path / "nano.hef", graph, frames=1000, width=192)
    take_hef(folder, path)
    return folder


def run(tmp_path: Path, npu: Any, model: Path, *options: str) -> tuple[int, list[dict[str, Any]], list[Any]]:
    """A job over the examples; exit code, transcripts by id, windows."""
    import pyarrow.dataset as ds

    manifest = tmp_path / "m.csv"
    manifest.write_text("audio\n" + "".join(f"{ROOT / 'examples' / name}\n" for name in EXAMPLES))
    out = tmp_path / "out"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "fakes"), "HAILO_FAKE": str(npu.folder)}
    command = [sys.executable, "-m", "asr_batch.jobs", "run", str(manifest), "--out", str(out), "--model"]
    command += [str(model), "--encoder", "hailo", "--progress", "none", *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150, check=False)
    if not (out / "transcripts").is_dir():
        return done.returncode, [], [done.stderr]
    rows = ds.dataset(out / "transcripts").to_table().to_pylist()
    windows = ds.dataset(out / "windows").to_table().to_pylist()
    return done.returncode, sorted(rows, key=lambda row: str(row["id"])), windows


def test_a_job_through_ray_and_the_npu(tmp_path: Path, npu: Any, nano: Path) -> None:
    npu.set(devices=[{"id": "0000:01:00.0", "arch": "HAILO8L"}], snr_db=15.0)
    code, rows, windows = run(tmp_path, npu, nano)
    assert code == 0
    assert {row["encoder_backend"] for row in rows} == {"hailo"}
    assert {window["encoder_backend"] for window in windows} == {"hailo"}
    assert all(row["text"] for row in rows)


def test_a_drifting_npu_is_found_and_its_rows_are_made_again(tmp_path: Path, npu: Any, nano: Path) -> None:
    npu.set(devices=[{"id": "0000:01:00.0", "arch": "HAILO8L"}])
    # The first probe is good; the first window is noisy, and any later probe is outside the bounds.
    npu.set(faults=[{"kind": "drift", "frame": 1, "count": 10_000, "db": 14.0}])
    code, rows, windows = run(tmp_path, npu, nano, "--no-ray")
    assert code == 0
    assert {row["encoder_backend"] for row in rows} == {"cpu"}
    assert all("fallback_encoder" in window["flags"] for window in windows)


def test_bench_times_the_hybrid_on_the_npu(npu: Any, nano: Path) -> None:
    npu.set(devices=[{"id": "0000:01:00.0", "arch": "HAILO8L"}], snr_db=15.0)
    hybrid = latency.Pipeline("hybrid", LoadOptions(encoder="hailo", batch_size=1))
    row = latency.measure(hybrid, nano, latency.clips_of(None, 1))
    assert row.note == ""
    assert row.encoder is not None
    assert row.temperature is not None


def test_a_missing_device_ends_with_exit_2_and_a_sentence(tmp_path: Path, npu: Any, nano: Path) -> None:
    npu.set(devices=[])
    code, rows, said = run(tmp_path, npu, nano, "--no-ray")
    assert (code, rows) == (2, [])
    assert "lspci" in said[0]
    assert "Traceback" not in said[0]


def test_a_window_that_the_npu_spoils_is_heard_on_the_cpu(npu: Any, nano: Path) -> None:
    """The recognizer's answers to what the NPU encoded are emptied, as by a model that quantises badly."""
    from asr_batch.manifests.records import AudioItem
    from asr_batch.pipeline.options import PipelineOptions
    from asr_batch.pipeline.text.assembling import assemble
    from asr_batch.pipeline.transcribe import Transcriber
    from asr_batch.pipeline.windows.spans import split_item

    npu.set(devices=[{"id": "0000:01:00.0", "arch": "HAILO8L"}])
    model = load_recognizer(nano, LoadOptions(encoder="hailo"))
    poll = model.poll

    def spoilt() -> list[Any]:
        return [
            replace(one, text="", tokens=(), places=()) if one.encoder_backend == "hailo" else one
            for one in poll()
        ]

    model.poll = spoilt
    path = ROOT / "tests" / "data" / "audio" / "dev-0003.flac"
    item = AudioItem("row", path.name, str(path))
    transcriber = Transcriber(model, PipelineOptions(repair_budget=9.0))
    transcriber.add(split_item(item, None)[0], path)
    spans: list[Any] = []
    while transcriber.open_units():
        spans += transcriber.advance(10)
    row = assemble(item, spans)
    model.close()
    assert row.text == "Seventy-four percent of the kettles in Munich are cheap."
    assert (row.status, row.encoder_backend) == ("ok", "cpu")
    (window,) = row.windows
    assert {"recovered", "fallback_encoder"} <= set(window.flags)
    assert "halves" in [other.source for other in window.hypotheses]


@pytest.mark.parametrize("encoder", ["hailo", "cpu"])
def test_a_window_longer_than_the_npus_is_encoded_on_the_cpu(npu: Any, nano: Path, encoder: Any) -> None:
    import soundfile

    npu.set(devices=[{"id": "0000:01:00.0", "arch": "HAILO8L"}])
    audio = ROOT / "tests" / "data" / "audio"
    clips = [soundfile.read(audio / f"dev-000{i}.flac", dtype="float32")[0] for i in (3, 5, 3, 5, 8)]
    samples = np.concatenate(clips)
    model = load_recognizer(nano, LoadOptions(encoder=encoder))
    assert (model.info.window, model.info.longest) == (10.0, 30.0)
    assert 10 < len(samples) / 16000 < 30
    model.submit(WindowRequest("long", samples, DecodeOptions(cpu_encoder=True, max_new_tokens=120)))
    (result,) = model.poll()
    model.close()
    assert (result.error, result.encoder_backend) == (None, "cpu")
    assert "the buttons in Toronto are narrow" in result.text  # said from 9.4 s on


def decode(model: Any, clips: list[np.ndarray], *, plain: bool) -> dict[Any, Any]:
    results: dict[Any, Any] = {}
    waiting = list(enumerate(clips))
    while waiting or model.pending():
        while waiting and model.room():
            key, samples = waiting.pop(0)
            model.submit(WindowRequest(key, samples, DecodeOptions(plain=plain)))
        results |= {result.key: result for result in model.poll()}
    return results


def test_encoder_and_decoder_on_the_npu_give_the_cpu_tokens(tmp_path: Path, npu: Any, tiny: Any) -> None:
    """A random model compiled with its kit: CPU, hybrid and full NPU, nearly without noise, agree."""
    from asr_batch.models.whisper.compile.bundle import compile_bundle

    spec = tiny.Tiny(seed=5, decoder_layers=2)
    source = tmp_path / "src"
    source.mkdir()
    tiny.write_json(source, spec)
    from safetensors.numpy import save_file

    state = {name: np.ascontiguousarray(value) for name, value in tiny.weights(spec).items()}
    save_file(state, source / "model.safetensors")
    folder = tmp_path / "bundle"
    compile_bundle(source, folder, window=10.0, precision="fp32", target="hailo8")
    kit = folder / "hailo"
    facts = json.loads((kit / "kit.json").read_text())
    npu.set(snr_db=100.0)
    encoder = hef_writing.write_hef(
        tmp_path / "e.hef", (kit / "encoder.onnx").read_bytes(), 1000, 32, arch="HAILO8"
    )
    take_hef(folder, encoder)
    take_hef(folder, hef_writing.write_decoder_hef(tmp_path / "decoder.hef", kit, facts, arch="HAILO8"))
    rng = np.random.default_rng(8)
    clips = [rng.normal(0, 0.1, size).astype(np.float32) for size in (160_000, 90_000, 30_000)]
    texts = {}
    for name, options in {
        "cpu": LoadOptions(encoder="cpu"),
        "hybrid": LoadOptions(encoder="hailo"),
        "npu": LoadOptions(encoder="hailo", decoder="npu"),
    }.items():
        model = load_recognizer(folder, options)
        # Plain windows are padded to the 10 s that this model was trained on, as an NPU's always are.
        found = decode(model, clips, plain=name == "cpu")
        assert {result.encoder_backend for result in found.values()} == {"cpu" if name == "cpu" else "hailo"}
        texts[name] = {key: result.tokens[: facts["tokens"] - 4] for key, result in found.items()}
        assert model.confirm()
        model.close()
    assert texts["hybrid"] == texts["cpu"]
    assert texts["npu"] == {key: tokens[: len(texts["npu"][key])] for key, tokens in texts["cpu"].items()}
    assert all(texts["npu"].values())
