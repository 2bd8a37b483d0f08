"""deploy/provision.sh in a bare Debian 12, made by debootstrap: packages, venv, account, settings, a job.

Minutes, and the network: skipped with a reason where debootstrap or a mirror is not at hand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hosts import why_not

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[2]
CERTIFICATES = "srv/host-ca.crt"  # what this machine trusts, for pip
BORROWED = {
    "etc/resolv.conf": "etc/resolv.conf",
    "etc/pip.conf": "etc/pip.conf",
    "etc/ssl/certs/ca-certificates.crt": CERTIFICATES,
}


@pytest.fixture
def debian(tmp_path):
    """A minimal Debian, with this machine's name servers and settings of pip."""
    reason = why_not() or (None if shutil.which("debootstrap") else "needs debootstrap")
    if reason:
        pytest.skip(reason)
    root = tmp_path / "debian"
    command = ["debootstrap", "--variant=minbase", "bookworm", root]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"debootstrap found no mirror: {made.stdout[-200:]}")
    for name, copy in BORROWED.items():
        if Path("/", name).exists():
            shutil.copy(Path("/", name), root / copy)
    return root


def inside(root, script) -> str:
    """Run shell lines in the Debian, in namespaces of its own; returns what they print."""
    mounts = f"mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev; mount -t tmpfs tmp {root}/tmp"
    enter = ["sh", "-euc", f'{mounts}; exec chroot {root} "$@"', "sh"]
    env = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    env |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/srv", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["unshare", "-m", "-p", "-f", "--kill-child", *enter, "sh", "-euc", script],
        env=env | {"PIP_CERT": f"/{CERTIFICATES}"} if (root / CERTIFICATES).exists() else env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_a_bare_debian_becomes_a_node(debian, tmp_path):
    home = debian / "srv"
    pip = [sys.executable, "-m", "pip", "wheel", "-q"]
    build = [*pip, "--no-deps", "--no-build-isolation", "-w", home, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    shutil.copytree(ROOT / "deploy", home / "deploy")
    shutil.copytree(ROOT / "examples", home / "examples")
    subprocess.run(["sh", ROOT / "deploy" / "token.sh", home / "ray.token"], check=True, capture_output=True)
    options = "--role head --wheel asr_batch-*.whl --token ray.token"
    provision = f"cd /srv; sh deploy/provision.sh --here 127.0.0.1 {options}"
    for _ in range(2):  # it may be run again
        told = inside(debian, provision)
    assert "ready as head of 127.0.0.1" in told
    assert "systemd does not run here" in told
    told = inside(debian, "stat -c '%a %U' /etc/asr-batch/ray.token; cat /etc/asr-batch/node.env")
    assert told.startswith("600 asr\n")
    assert "HEAD_ADDRESS=127.0.0.1" in told
    assert (debian / "etc/systemd/system/multi-user.target.wants/asr-batch-head.service").is_symlink()
    as_asr = "su asr -s /bin/sh -c"
    inside(debian, f"{as_asr} '/opt/asr-batch/bin/asr-batch doctor'")
    run = "/opt/asr-batch/bin/asr-batch run /srv/examples/manifest.csv --out /var/lib/asr/out --quiet"
    ran = f"{as_asr} '{run}' || test $? = 3"
    told = inside(debian, f"{ran}; ls /var/lib/asr/out/transcripts")
    assert ".parquet" in told
