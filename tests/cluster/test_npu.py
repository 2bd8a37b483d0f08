"""Where NPU work goes: a host with two NPUs (test doubles) beside a plain one, one job over both."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hosts import Hosts, why_not

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
DEVICES = [{"id": f"0000:0{number}:00.0", "arch": "HAILO8L"} for number in (1, 2)]


@pytest.fixture
def model(tmp_path):
    """The bundled model with its own encoder as HEF."""
    onnx = pytest.importorskip("onnx")
    hef_writing = pytest.importorskip("hef_writing")
    from asr_batch.models.whisper.opening import take_hef

    folder = tmp_path / "nano"
    shutil.copytree(ROOT / "models" / "bundled" / "nano.en", folder)
    graph = onnx.load(folder / "encoder.onnx").SerializeToString()
    take_hef(folder, hef_writing.write_hef(tmp_path / "nano.hef", graph, frames=1000, width=192))
    return folder


@pytest.fixture
def hosts(tmp_path):
    """A head, a host with two NPUs, a host without."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Hosts(3) as made:
        npu = tmp_path / "npu"
        npu.mkdir()
        (npu / "settings.json").write_text(json.dumps({"devices": DEVICES, "ms": 1.0, "snr_db": 15.0}))
        made.others[0].env = {"PYTHONPATH": str(ROOT / "tests" / "fakes"), "HAILO_FAKE": str(npu)}
        made.start_ray([["--num-cpus=2", '--resources={"hailo": 2}'], ["--num-cpus=2"]])
        yield made


def job(hosts, tmp_path, model, *words):
    """80 rows; (exit code, what was said, rows, the node table of the summary)."""
    dataset = pytest.importorskip("pyarrow.dataset")
    lines = [f"{ROOT}/examples/telephone.wav,{number / 1000}" for number in range(80)]
    (tmp_path / "m.csv").write_text("audio,start\n" + "\n".join(lines) + "\n")
    out = tmp_path / f"out{len(words)}"
    options = ["--out", str(out), "--address", "auto", "--model", str(model), "--quiet", *words]
    process = hosts.head.popen(
        [sys.executable, "-m", "asr_batch.jobs", "run", str(tmp_path / "m.csv"), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, said = process.communicate(timeout=150)
    if process.returncode:
        return process.returncode, said, [], []
    files = sorted(map(str, (out / "transcripts").glob("*.parquet")))
    rows = dataset.dataset(files).to_table(["status", "node", "encoder_backend"]).to_pylist()
    return 0, said, rows, json.loads((out / "summary.json").read_text())["nodes"]


def test_npus_do_npu_work_and_the_others_help_on_the_cpu(hosts, tmp_path, model):
    code, said, rows, nodes = job(hosts, tmp_path, model)
    assert code == 0, said
    assert {row["status"] for row in rows} == {"ok"}
    assert len(rows) == 80
    used = {(row["node"], row["encoder_backend"]) for row in rows}
    assert used <= {("rw2", "hailo"), ("rw3", "cpu")}
    assert ("rw2", "hailo") in used
    workers = {node["node"]: node["workers"] for node in nodes}
    assert workers["rw2"] == 2  # one for each NPU, not by cores
    strict = job(hosts, tmp_path, model, "--encoder", "hailo")
    assert strict[0] == 0, strict[1]
    assert {row["node"] for row in strict[2]} == {"rw2"}
    (left_out,) = [node for node in strict[3] if node["node"] == "rw3"]
    assert "no NPU for --encoder hailo" in left_out["note"]
