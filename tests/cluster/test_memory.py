"""A host that runs short of memory, whoever eats it: Ray's monitor ends a worker, and no row is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Run
from hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
HERE = Path(__file__).parent


def claim(host, file, available):
    """Let the host's /proc/meminfo say that this share of the memory is available."""
    text = Path("/proc/meminfo").read_text()
    total = int(re.search(r"MemTotal: +(\d+)", text)[1])
    text = re.sub(r"(MemAvailable: +)\d+", lambda found: f"{found[1]}{int(total * available)}", text)
    file.write_text(re.sub(r"((?:MemFree|Cached|Buffers): +)\d+", r"\g<1>0", text))


@pytest.fixture
def hosts(tmp_path):
    with Hosts(2) as made:
        made.env |= {"PYTHONPATH": str(HERE.parent / "workers"), "MODEL": str(tmp_path / "model")}
        (tmp_path / "model").mkdir()
        made.head.ray_start("--num-cpus=0")
        made.head.await_ray()
        claim(made.others[0], tmp_path / "meminfo", 0.5)
        made.others[0].run(["mount", "--bind", str(tmp_path / "meminfo"), "/proc/meminfo"])
        made.others[0].ray_start("--num-cpus=1")
        made.others[0].await_ray()
        yield made


def test_memory_that_others_eat_costs_no_row(hosts, tmp_path):
    job = Run(hosts.head, slow=60)
    job.until(lambda line: "done" in line)
    claim(hosts.others[0], tmp_path / "meminfo", 0.01)
    lost = job.until(lambda line: "lost" in line, 30)
    claim(hosts.others[0], tmp_path / "meminfo", 0.5)
    job.finish()
    assert job.done() == [f"slow-{number:03}" for number in range(60)]
    assert not job.quarantined()
    assert lost["reason"] in ("out_of_memory", "node_lost")  # the worker, or the node's watchman
