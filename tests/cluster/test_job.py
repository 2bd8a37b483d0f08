"""The whole command on three hosts with the bundled model: hosts killed, cut, healed, the driver killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIPS = ("telephone.wav", "voice memo.flac", "studio.flac", "mix.wav", "podcast.mp3", "message.ogg")
FINISHED = (0, 3)  # 3: some rows are partial


@pytest.fixture
def manifest(request, tmp_path):
    """60 rows (or as many as the test asks for) of six clips, no two the same span."""
    rows = ["id,audio,start"]
    for number in range(getattr(request, "param", 60)):
        name = CLIPS[number % len(CLIPS)]
        copy = tmp_path / f"{number}-{name}"
        shutil.copy(EXAMPLES / name, copy)
        rows.append(f"r{number:03},{copy.name},{number * 0.001:.3f}")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def command(manifest, out, *words):
    return [sys.executable, "-m", "asr_batch.jobs", "run", str(manifest), "--out", str(out), *words]


def rows(out) -> dict[str, tuple]:
    dataset = pytest.importorskip("pyarrow.dataset")
    columns = ["id", "status", "text", "attempts", "node", "error_code"]
    table = dataset.dataset(sorted(map(str, Path(out, "transcripts").glob("*.parquet")))).to_table(columns)
    found = table.to_pylist()
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


@pytest.fixture
def calm(manifest, tmp_path):
    """What the same job gives without cluster and without faults."""
    out = tmp_path / "calm"
    done = subprocess.run(command(manifest, out, "--no-ray", "--quiet"), check=False, timeout=200)
    assert done.returncode in FINISHED
    return {name: (row["status"], row["text"]) for name, row in rows(out).items()}


def told(out) -> dict[str, tuple]:
    return {name: (row["status"], row["text"]) for name, row in rows(out).items()}


def test_faults_change_no_row(hosts, manifest, calm, tmp_path):
    out, (first, second) = tmp_path / "out", hosts.others
    log = (tmp_path / "log").open("w+")
    job = hosts.head.popen(command(manifest, out, "--address", "auto"), stdout=log, stderr=log)
    until = time.monotonic() + 60
    while not second.pids("ray::WorkerHost.advance") and time.monotonic() < until and job.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    second.kill()
    second.boot()
    second.ray_start("--num-cpus=1")
    time.sleep(4)
    first.cut()
    time.sleep(16)
    first.heal()
    assert job.wait(240) == 0, (tmp_path / "log").read_text()
    assert told(out) == calm
    if first.ray.poll() is not None:
        first.ray_start("--num-cpus=1")


@pytest.mark.parametrize("manifest", [1000], indirect=True)  # more than is done before it is noticed
def test_a_driver_whose_head_is_gone_says_so_and_resumes(manifest, calm, tmp_path):
    out = tmp_path / "out"
    with Hosts(2) as hosts:
        for attempt in range(2):
            hosts.head.ray_start("--num-cpus=0")
            hosts.head.await_ray()
            hosts.others[0].ray_start("--num-cpus=1")
            hosts.others[0].await_ray()
            pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            job = hosts.head.popen(command(manifest, out, "--address", "auto"), **pipes)
            if attempt == 0:
                until = time.monotonic() + 60
                while not hosts.others[0].pids("ray::WorkerHost.advance"):
                    assert time.monotonic() < until
                    time.sleep(0.1)
                for pid in hosts.head.pids("gcs_server"):
                    os.kill(pid, 9)
            _, err = job.communicate(timeout=120)
            if attempt == 0:
                assert (job.returncode, "the head of the cluster has not answered" in err) == (1, True), err
                for host in hosts.all:
                    host.ray_stop()
        assert job.returncode in FINISHED, err
    assert told(out) == calm


def test_a_driver_that_was_killed_resumes(hosts, manifest, calm, tmp_path):
    out = tmp_path / "out"
    quiet = subprocess.DEVNULL
    job = hosts.head.popen(command(manifest, out, "--address", "auto"), stdout=quiet, stderr=quiet)
    until = time.monotonic() + 90
    while (
        time.monotonic() < until and job.poll() is None and not any(h.pids("advance") for h in hosts.others)
    ):
        time.sleep(0.1)
    time.sleep(2)
    for pid in hosts.head.pids("asr_batch.jobs"):
        os.kill(pid, 9)
    again = hosts.head.popen(
        command(manifest, out, "--address", "auto"), stdout=quiet, stderr=subprocess.PIPE
    )
    _, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert told(out) == calm
