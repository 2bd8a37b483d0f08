"""TLS between hosts, with certificates made by the commands of docs/cluster.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with socket.create_connection((sys.argv[1], 6379), timeout=5) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[1]) as stream:
        print(stream.version(), stream.getpeercert()["subject"])
"""


def certificates(folder, addresses):
    """The shell lines of the page: once for the authority, then for each machine in its own folder."""
    (block,) = re.findall(r"(?m)(?:^    (?:openssl|#|printf|  ).*\n)+", tls_section())
    lines = "\n".join(line[4:] for line in block.splitlines())
    authority, _, machine = lines.partition("# for each machine, with its address:\n")
    assert machine
    subprocess.run(["sh", "-euc", authority], cwd=folder, check=True, capture_output=True)
    for address in addresses:
        own = folder / address
        own.mkdir()
        for name in ("ca.crt", "ca.key"):
            (own / name).symlink_to(folder / name)
        text = machine.replace("192.168.1.11", address)
        subprocess.run(["sh", "-euc", text], cwd=own, check=True, capture_output=True)


def tls_section() -> str:
    return (ROOT / "docs" / "cluster.md").read_text().partition("### TLS")[2]


def settings(folder) -> dict[str, str]:
    """The TLS lines of deploy/ray.env without their #, with this folder in the place of theirs."""
    text = (ROOT / "deploy" / "ray.env").read_text().replace("/etc/asr-batch/tls", str(folder))
    found = dict(re.findall(r"(?m)^#(RAY_\w*TLS\w*)=(.*)$", text))
    assert len(found) == 4
    return found


@pytest.fixture
def hosts(tmp_path):
    with Hosts(3) as made:
        certificates(tmp_path, [host.address for host in made.all])
        for host in made.all:
            host.env |= settings(tmp_path / host.address)
        made.start_ray()
        yield made


def test_a_job_over_tls_and_nothing_without_it(hosts, tmp_path):
    rows = "\n".join(f"{ROOT}/examples/telephone.wav,{n / 1000}" for n in range(12))
    (tmp_path / "manifest.csv").write_text(f"audio,start\n{rows}\n")
    out = tmp_path / "out"
    words = ["run", str(tmp_path / "manifest.csv"), "--address", "auto", "--quiet", "--out"]
    for host in hosts.others:
        host.hide(ROOT / "examples")  # so that audio travels too
    hosts.head.run([sys.executable, "-m", "asr_batch.jobs", *words, str(out)], timeout=120)
    hosts.head.run([sys.executable, "-m", "asr_batch.jobs", "verify", str(out)])
    told = hosts.others[0].run([sys.executable, "-c", SCRIPT, hosts.head.address, str(tmp_path / "ca.crt")])
    assert "TLSv1." in told
    plain = dict.fromkeys(settings(tmp_path), "")
    job = hosts.head.popen(
        [sys.executable, "-m", "asr_batch.jobs", *words, str(tmp_path / "other")],
        plain,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _, said = job.communicate(timeout=60)
    assert job.returncode == 2
    assert "does not answer" in said
    assert "RAY_USE_TLS" in said
