"""Audio and models that the nodes do not have; who may join."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def test_files_that_a_node_does_not_have_travel_with_the_call(hosts, run, tmp_path):
    files = [tmp_path / f"f{number}.bin" for number in range(12)]
    for file in files:
        file.write_bytes(os.urandom(200_000))
    for host in hosts.others:
        host.hide(tmp_path)
    job = run(*map(str, files), env={"MAKER": "simulated:ReadingWorker"})
    job.finish()
    told = {line["done"]: line["text"] for line in job.lines if "done" in line}
    assert told == {str(file): f"bytes {sha256(file.read_bytes()).hexdigest()}" for file in files}


def test_files_that_a_node_sees_are_read_there(hosts, run, tmp_path):
    file = tmp_path / "here.bin"
    file.write_bytes(b"sound")
    job = run(str(file), env={"MAKER": "simulated:ReadingWorker"})
    job.finish()
    assert [line["text"] for line in job.lines if "done" in line] == [f"path {sha256(b'sound').hexdigest()}"]


def test_a_model_is_sent_once_and_a_full_disk_says_so(hosts, run, tmp_path):
    model, home = tmp_path / "model", tmp_path / "home"
    cache = Path("~/.cache").expanduser()
    cache.mkdir(exist_ok=True)
    (model / "onnx").mkdir(parents=True)
    home.mkdir()
    content = os.urandom(40 << 20)
    (model / "onnx" / "weights.bin").write_bytes(content)
    (model / "empty").touch()
    full, fine = hosts.others
    for host in hosts.others:
        host.hide(model)
    for host, size in ((full, 30), (fine, 300)):
        host.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(cache)])
    for attempt in range(2):
        job = run(slow=10, env={"MODEL": str(model)})
        job.finish()
        assert len(job.done()) == 10
        up = {name: (alive, note) for name, alive, _, note in job.lines[0]["up"]}
        assert up[fine.name][0], attempt
        assert not up[full.name][0]
        assert "MiB of disk free, the model needs" in up[full.name][1]
    digest = fine.run(["sh", "-c", f"sha256sum {cache}/asr-batch/received/*/onnx/weights.bin"])
    assert digest.split()[0] == sha256(content).hexdigest()
    strict = run(slow=1, env={"MODEL": str(model), "STRICT": "1"})
    strict.process.wait(60)
    time.sleep(0.2)
    assert f"ConfigError: nodes that cannot take part: {full.name}" in "".join(strict.errors)
    for host in hosts.others:
        host.run(["umount", str(cache)])


@pytest.mark.parametrize(
    ("env", "address", "sentence"),
    [
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "0" * 64}, "auto", "rejects this machine's token"),
        ({}, "10.77.0.99:6379", "no Ray head answers"),
        ({}, "10.77.0.1", "expected auto, local or HOST:PORT"),
    ],
)
def test_what_is_wrong_is_said_soon(hosts, run, env, address, sentence):
    begun = time.monotonic()
    job = run(slow=1, env=env, address=address)
    job.process.wait(30)
    took = time.monotonic() - begun
    time.sleep(0.2)
    assert sentence in "".join(job.errors)
    assert took < 6


NEIGHBOUR = """
import sys, urllib.request, urllib.error
for port in sys.argv[2:]:
    for path in ("/", "/metrics", "/get_or_create_runtime_env", "/api/version"):
        try:
            reply = urllib.request.urlopen(f"http://{sys.argv[1]}:{port}{path}", timeout=5)
            print(port, path, reply.status)
        except urllib.error.HTTPError as error:
            print(port, path, error.code)
        except OSError as error:
            print(port, path, "no HTTP")
        except Exception as error:
            print(port, path, "no HTTP" if "BadStatusLine" in type(error).__name__ else repr(error))
"""
STRANGER = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": ""}


def test_a_neighbour_without_the_token_can_do_nothing(hosts):
    """Another machine on the network (a worker here): no driver, no node, no HTTP without the token."""
    neighbour = hosts.others[0]
    script = "import ray; ray.init(address='10.77.0.1:6379'); print(ray.nodes())"
    words = ["start", "--address=10.77.0.1:6379", f"--node-ip-address={neighbour.address}", "--block"]
    tries = [["-c", script], ["-m", "ray.scripts.scripts", *words]]
    started = [
        neighbour.popen([sys.executable, *one], STRANGER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for one in tries
    ]
    for host in (hosts.head, hosts.others[1]):
        ports = sorted(map(str, host.open_ports()))
        assert len(ports) > 2
        answers = neighbour.run(
            [sys.executable, "-c", NEIGHBOUR, host.address, *ports], STRANGER, timeout=100
        )
        told = {line.split(" ", 2)[2] for line in answers.splitlines()}
        assert told <= {"401", "no HTTP"}, answers
    for process in started:
        out, _ = process.communicate(timeout=90)
        assert process.returncode != 0
        assert "NodeID" not in out
        assert "Ray runtime started" not in out
    count = "import ray; ray.init(address='auto', logging_level='error'); print(len(ray.nodes()))"
    before = int(hosts.head.run([sys.executable, "-c", count]).split()[-1])
    assert before == len(hosts.all)


def test_a_cluster_without_token_is_refused(hosts):
    from hosts import Hosts

    here = os.path.dirname(__file__)  # noqa: PTH120
    with Hosts(1, token=False) as open_hosts:
        open_hosts.env |= {"PYTHONPATH": f"{here}/../workers", "MODEL": hosts.env["MODEL"]}
        open_hosts.head.env["RAY_AUTH_MODE"] = "disabled"
        open_hosts.head.ray_start("--num-cpus=1")
        open_hosts.head.await_ray()
        command = [sys.executable, f"{here}/driver.py", "auto", "1"]
        process = open_hosts.head.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=60)
        assert "takes commands from anyone on the network" in err
