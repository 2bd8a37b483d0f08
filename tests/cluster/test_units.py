"""The command lines of the systemd units start a cluster, and the doctor sees it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def start(host, role, head, resources):
    """Run a unit's ExecStart on a host, with the variables of node.env."""
    unit = (DEPLOY / "systemd" / f"asr-batch-{role}.service").read_text()
    line = re.search(r"ExecStart=\S+ start ((?:.*\\\n)*.*)", unit)[1].replace("\\\n", " ")
    values = {
        "HEAD_ADDRESS": head,
        "NODE_ADDRESS": host.address,
        "NUM_CPUS": "1",
        "RESOURCES": resources,
        "OBJECT_STORE_BYTES": "200000000",
    }
    words = [re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], word) for word in shlex.split(line)]
    log = (host.folder / "ray.log").open("a")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
    host.ray = host.popen(command, stdout=log, stderr=log)
    host.await_ray()


def test_units_start_a_cluster_and_the_doctor_sees_it(tmp_path):
    with Hosts(2) as hosts:
        settings = (DEPLOY / "ray.env").read_text().splitlines()
        given = dict(line.split("=", 1) for line in settings if line and not line.startswith("#"))
        hosts.env |= given | {"RAY_AUTH_TOKEN_PATH": str(hosts.token)}
        start(hosts.head, "head", hosts.head.address, "{}")
        start(hosts.others[0], "worker", hosts.head.address, '{"hailo": 1}')
        for host in hosts.all:
            assert host.open_ports() <= {*range(6379, 6386), *range(6400, 6500)}, (
                "docs/cluster.md names these"
            )
        hosts.others[0].hide(tmp_path)
        doctor = [sys.executable, "-m", "asr_batch.jobs", "doctor", "--address", "auto", "--json"]
        output = hosts.head.run([*doctor, "--audio", str(tmp_path), "--audio", "/nowhere"])
        head, worker = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
        assert (head["name"], head["fits"], head["audio"]) == ("rw1", True, [True, False])
        assert (worker["name"], worker["fits"], worker["workers"]) == ("rw2", True, 1)
        assert worker["facts"]["python"] == sys.version.split()[0]
