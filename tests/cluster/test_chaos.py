"""The whole command while hosts, links, workers and drivers fail at random, with rows that misbehave.

Afterwards the rules of the data set, row by row. CHAOS_SEEDS=4,5,6 runs other seeds.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(540)]
ROOT = Path(__file__).resolve().parents[2]
CLIPS = ("telephone.wav", "voice memo.flac", "studio.flac", "mix.wav", "podcast.mp3", "message.ogg")
BAD = {
    "crash-1": {"worker_crashed"},
    "crash-2": {"worker_crashed"},
    # Two of our own kills while such a row runs alone are its two lone kills, and that is the rule.
    "hang-1": {"timeout", "worker_crashed"},
    "eat-1": {"out_of_memory", "worker_crashed"},
    "gone-1": {"not_found"},
    "noise-1": {"unreadable"},
}
ACTIONS = ("worker", "blip", "cut", "host", "raylet", "driver")
SEEDS = [int(word) for word in os.environ.get("CHAOS_SEEDS", "1,2").split(",")]


def manifest(folder, good=260):
    """Rows of 0.6 s out of six clips, no two the same, the bad ones among them; without those: calm.csv."""
    names = [f"r{number:03}" for number in range(good)]
    for number, name in enumerate(BAD):
        names.insert(20 + 31 * number, name)
    lines = ["id,audio,start,end"]
    for number, name in enumerate(names):
        audio = folder / f"{name}-{CLIPS[number % len(CLIPS)]}"
        if name.startswith("noise"):
            audio.write_bytes(b"no sound at all" * 1000)
        elif not name.startswith("gone"):
            shutil.copy(ROOT / "examples" / CLIPS[number % len(CLIPS)], audio)
        start = number % 10 * 0.05 + number * 1e-4
        lines.append(f"{name},{audio.name},{start:.4f},{start + 0.6:.4f}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    calm = [line for line in lines if line.split(",")[0] not in ("crash-1", "crash-2", "hang-1", "eat-1")]
    (folder / "calm.csv").write_text("\n".join(calm) + "\n")


def command(*words):
    return [sys.executable, "-m", "asr_batch.jobs", *map(str, words)]


def rows(out) -> list[dict]:
    dataset = pytest.importorskip("pyarrow.dataset")
    files = sorted(map(str, Path(out, "transcripts").glob("*.parquet")))
    columns = ["id", "status", "text", "attempts", "node", "error_code", "error_message"]
    return dataset.dataset(files).to_table(columns).to_pylist()


class Chaos:
    """Breaks one thing after the other, mends it, and keeps the services running as systemd would."""

    def __init__(self, hosts, seed, job) -> None:
        self.hosts, self.dice, self.start = hosts, random.Random(seed), job
        self.done: list[str] = []
        self.away: set[str] = set()
        self.job = job()

    def run(self, seconds=150.0) -> int:
        """Chaos until the job has ended, or for so long; returns the exit code of the last driver."""
        until, last = time.monotonic() + seconds, time.monotonic() + 360
        self.wait(6)
        while self.job.poll() is None and time.monotonic() < until:
            name = self.dice.choice(ACTIONS)
            self.done.append(f"{name} ({time.monotonic() - until + seconds:.0f} s)")
            getattr(self, name)(self.dice.choice(self.hosts.others))
            self.wait(self.dice.uniform(1, 6))
        while self.job.poll() is None:
            assert time.monotonic() < last, f"the job does not end after {self.done}"
            self.wait(1)
        return self.job.returncode

    def wait(self, seconds) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.job.poll() is None:
            for host in self.hosts.others:
                if host.ray.poll() is not None and host.name not in self.away:
                    host.ray_start("--num-cpus=1")
            time.sleep(0.5)

    def worker(self, host) -> None:
        for pid in host.pids("ray::WorkerHost")[:1]:
            os.kill(pid, 9)

    def raylet(self, host) -> None:
        for pid in host.pids("raylet/raylet"):
            os.kill(pid, 9)

    def host(self, host) -> None:
        host.kill()
        self.away.add(host.name)
        self.wait(self.dice.uniform(0, 8))
        host.boot()
        self.away.remove(host.name)

    def blip(self, host) -> None:
        self.cut(host, 1, 6)

    def cut(self, host, least=13, most=22) -> None:
        host.cut()
        self.away.add(host.name)
        self.wait(self.dice.uniform(least, most))
        host.heal()
        self.away.remove(host.name)

    def driver(self, host) -> None:
        for pid in self.hosts.head.pids("asr_batch.jobs"):
            os.kill(pid, 9)
        self.job.wait()
        self.job = self.start()


@pytest.fixture
def hosts(tmp_path):
    """A head and two workers whose engine misbehaves; the second worker does not see the audio."""
    with Hosts(3) as made:
        for host in made.others:
            host.env = {
                "PYTHONPATH": str(ROOT / "tests/helpers/misbehave"),
                "MEMORY_FREE": str(2 << 30),
                "PAUSE": "0.15",
            }
        made.start_ray()
        made.others[1].hide(tmp_path)
        yield made


@pytest.mark.parametrize("seed", SEEDS)
def test_every_row_once_whatever_fails(hosts, tmp_path, seed):
    manifest(tmp_path)
    out, calm, log = tmp_path / "out", tmp_path / "calm", (tmp_path / "log").open("a")
    subprocess.run(command("run", tmp_path / "calm.csv", "--out", calm, "--no-ray", "--quiet"), timeout=200)
    words = ["run", tmp_path / "manifest.csv", "--out", out, "--address", "auto", "--hang-timeout", "4"]
    chaos = Chaos(hosts, seed, lambda: hosts.head.popen(command(*words), stdout=log, stderr=log))
    code = chaos.run()
    told = f"{chaos.done}\n{(tmp_path / 'log').read_text()[-3000:]}"
    assert code == 3, told
    found = rows(out)
    names = [line.split(",")[0] for line in (tmp_path / "manifest.csv").read_text().splitlines()[1:]]
    assert sorted(row["id"] for row in found) == sorted(names), told
    failed = {row["id"]: row["error_code"] for row in found if row["status"] == "failed"}
    assert failed.keys() == BAD.keys(), (told, [row for row in found if row["status"] == "failed"])
    assert all(code in BAD[name] for name, code in failed.items()), (told, failed)
    expected = {row["id"]: (row["status"], row["text"]) for row in rows(calm)}
    assert {row["id"]: (row["status"], row["text"]) for row in found if row["id"] in expected} == expected, (
        told
    )
    verified = subprocess.run(command("verify", out), capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout
    until = time.monotonic() + 20
    while any(host.pids("ray::WorkerHost") for host in hosts.others) and time.monotonic() < until:
        time.sleep(0.5)
    assert not any(host.pids("ray::WorkerHost") for host in hosts.others), told
    print("chaos:", *chaos.done, "attempts:", max(row["attempts"] for row in found))
