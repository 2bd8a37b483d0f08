"""Where NPU work goes: a host with two NPUs (test doubles) beside a plain one, one job over both.

The plain host joins when the NPUs have done rows, and they are slow until it has done one: so both get work,
however busy the machine is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]
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
    """A head, a host with two NPUs, and a host without that has not joined yet."""
    with Hosts(3) as made:
        npu = tmp_path / "npu"
        npu.mkdir()
        made.others[0].env = {"PYTHONPATH": str(ROOT / "tests" / "fakes"), "HAILO_FAKE": str(npu)}
        made.head.ray_start("--num-cpus=0")
        made.head.await_ray()
        made.others[0].ray_start("--num-cpus=2", '--resources={"hailo": 2}')
        made.others[0].await_ray()
        yield made


def npus_take(tmp_path, milliseconds: float) -> None:
    """How long the NPUs take for a window from now on."""
    settings = tmp_path / "npu" / "settings.json"
    settings.with_suffix(".new").write_text(
        json.dumps({"devices": DEVICES, "ms": milliseconds, "snr_db": 15.0})
    )
    settings.with_suffix(".new").replace(settings)


class Job:
    """A job in the cluster."""

    def __init__(self, hosts, tmp_path, model, rows, *words):
        lines = [f"{ROOT}/examples/telephone.wav,{number / 1000}" for number in range(rows)]
        (tmp_path / "m.csv").write_text("audio,start\n" + "\n".join(lines) + "\n")
        self.out = tmp_path / f"out{len(words)}"
        options = ["--out", str(self.out), "--address", "auto", "--model", str(model), "--quiet", *words]
        self.process = hosts.head.popen(
            [sys.executable, "-m", "asr_batch.jobs", "run", str(tmp_path / "m.csv"), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def rows(self) -> list[dict]:
        """What is committed."""
        dataset = pytest.importorskip("pyarrow.dataset")
        files = sorted(map(str, (self.out / "transcripts").glob("*.parquet")))
        columns = ["status", "node", "encoder_backend"]
        return dataset.dataset(files).to_table(columns).to_pylist() if files else []

    def wait_for(self, node: str) -> None:
        """Wait until a node has done a row; the test has a limit of its own."""
        while node not in {row["node"] for row in self.rows()}:
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)

    def end(self) -> list[dict]:
        """The node table of the finished job."""
        _, said = self.process.communicate(timeout=150)
        assert self.process.returncode == 0, said
        return json.loads((self.out / "summary.json").read_text())["nodes"]


def test_npus_do_npu_work_and_the_others_help_on_the_cpu(hosts, tmp_path, model):
    npus_take(tmp_path, 5000.0)
    job = Job(hosts, tmp_path, model, 80)
    job.wait_for("rw2")
    hosts.others[1].ray_start("--num-cpus=2")
    job.wait_for("rw3")
    npus_take(tmp_path, 1.0)
    nodes, rows = job.end(), job.rows()
    assert {row["status"] for row in rows} == {"ok"}
    assert len(rows) == 80
    assert {(row["node"], row["encoder_backend"]) for row in rows} == {("rw2", "hailo"), ("rw3", "cpu")}
    workers = {node["node"]: node["workers"] for node in nodes}
    assert workers["rw2"] == 2  # one for each NPU, not by cores
    strict = Job(hosts, tmp_path, model, 20, "--encoder", "hailo")
    (left_out,) = [node for node in strict.end() if node["node"] == "rw3"]
    assert "no NPU for --encoder hailo" in left_out["note"]
    assert {row["node"] for row in strict.rows()} == {"rw2"}
