"""Three (or more) hosts on one machine: network, mount, pid and uts namespaces, joined by a bridge.

Everything lives in namespaces with names of this process; nothing of the machine's own network is touched.
A host is a process `sleep` that is pid 1 of its pid namespace: when it is killed, the whole host is gone at
once. Its /tmp/ray and /dev/shm are its own, its other files are those of the machine unless hidden.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

FAST = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_raylet_start_wait_time_s": "120",  # on a busy machine
    "RAY_raylet_liveness_self_check_interval_ms": "5000",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
    "RAY_USAGE_STATS_ENABLED": "0",
}

RAY_START = ("-m", "ray.scripts.scripts", "start")


def why_not() -> str | None:
    """Why this machine cannot make such hosts, or None."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    if not (shutil.which("ip") and shutil.which("unshare") and shutil.which("nsenter")):
        return "needs the commands ip, unshare and nsenter"
    name = f"try{secrets.token_hex(3)}"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True, timeout=10)
        subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True, timeout=10)
        subprocess.run(["unshare", "-m", "-p", "-f", "--mount-proc", "true"], check=True, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        return f"network namespaces are not allowed here: {error}"
    return None


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Host:
    def __init__(self, hosts: Hosts, name: str, address: str) -> None:
        self.hosts, self.name, self.address = hosts, name, address
        self.link = f"v{hosts.mark}{name[-1]}"
        self.netns = f"{hosts.mark}{name}"
        self.folder = hosts.folder / name
        self.processes: list[subprocess.Popen] = []
        self.env: dict[str, str] = {}
        ip("netns", "add", self.netns)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.netns)
        ip("link", "set", self.link, "netns", hosts.switch)
        ip("-n", hosts.switch, "link", "set", self.link, "master", "br0", "up")
        ip("-n", self.netns, "link", "set", "lo", "up")
        ip("-n", self.netns, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", self.netns, "link", "set", "eth0", "up")
        ip("-n", self.netns, "route", "add", "default", "via", "10.77.0.254")
        self.boot()

    def boot(self) -> None:
        """Bring the host up: its own pids, mounts and name."""
        (self.folder / "ray").mkdir(parents=True, exist_ok=True)
        script = (
            f"hostname {self.name}; mount -t tmpfs -o size=512m tmpfs /dev/shm; mkdir -p /tmp/ray;"
            f"mount --bind {self.folder}/ray /tmp/ray; echo up; exec sleep 100000"
        )
        command = ["ip", "netns", "exec", self.netns, "unshare", "-m", "-u", "-p", "-f", "--mount-proc"]
        self.init = subprocess.Popen(
            [*command, "--kill-child", "bash", "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert self.init.stdout.readline() == "up\n"
        self.pid = self._child(self.init.pid)

    def _child(self, pid: int) -> int:
        """Pid 1 of the host, as the machine counts."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.05)
        raise AssertionError("the host's first process did not start")

    def hide(self, folder: Path) -> None:
        """Put an empty file system over a folder, so that this host does not have what is in it."""
        self.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)])

    def popen(self, command: list[str], env: dict | None = None, **more) -> subprocess.Popen:
        """Start a command on the host."""
        env = self.hosts.env | self.env | (env or {})
        enter = ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u"]
        process = subprocess.Popen([*enter, *command], env=env, text=True, **more)
        self.processes.append(process)
        return process

    def run(self, command: list[str], env: dict | None = None, timeout: float = 60) -> str:
        process = self.popen(command, env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, f"{command}: {output}"
        return output

    def ray_start(self, *words: str, starter: Sequence[str] = RAY_START) -> None:
        """`ray start --block` as the units of deploy/ run it; `starter` are Python's words instead."""
        where = ["--head", "--port=6379", "--include-dashboard=False", "--no-monitor"]
        if self is not self.hosts.head:
            where = [f"--address={self.hosts.head.address}:6379"]
        fixed = [f"--node-ip-address={self.address}", "--object-store-memory=100000000", "--block"]
        log = (self.folder / "ray.log").open("a")
        command = [sys.executable, *starter, *where, *fixed, *words]
        self.ray = self.popen(command, stdout=log, stderr=log)

    def await_ray(self, seconds: float = 150) -> None:
        """Wait until this host's raylet runs and has found the head."""
        until = time.monotonic() + seconds
        while "Ray runtime started" not in (self.folder / "ray.log").read_text():
            assert time.monotonic() < until, (self.folder / "ray.log").read_text()
            assert self.ray.poll() is None, (self.folder / "ray.log").read_text()
            time.sleep(0.1)

    def ray_stop(self) -> None:
        """End this host's Ray only, as `systemctl stop` would."""
        for word in ("ray.scripts.scripts", "raylet/raylet"):
            for pid in self.pids(word):
                os.kill(pid, 9)
        self.ray.wait(timeout=20)
        (self.folder / "ray.log").write_text("")

    def cut(self) -> None:
        """Pull the cable: the link stays up, packets vanish."""
        ip("-n", self.hosts.switch, "link", "set", self.link, "nomaster")

    def heal(self) -> None:
        ip("-n", self.hosts.switch, "link", "set", self.link, "master", "br0")

    def kill(self) -> None:
        """Power off."""
        self.init.kill()
        self.init.wait()
        for process in self.processes:
            process.wait(timeout=20)
        self.processes.clear()

    def open_ports(self) -> set[int]:
        """TCP ports on which this host listens for others, not for itself alone."""
        lines = self.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).splitlines()
        words = [line.split() for line in lines]
        own = [where[1].rpartition(":") for where in words if where[3] == "0A"]
        loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
        return {int(port, 16) for address, _, port in own if address not in loopback}

    def pids(self, word: str) -> list[int]:
        """Processes of this host (as the machine counts) whose command line holds `word`."""
        mine = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "ns" / "pid").readlink() == mine and word in (folder / "cmdline").read_text():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


class Hosts:
    """`with Hosts(3) as hosts`: hosts.head and hosts.others, on the network 10.77.0.0/24 of their own.

    Skips the test where they cannot be made.
    """

    def __init__(self, count: int = 3, token: bool = True, fast: bool = True) -> None:
        reason = why_not()
        if reason:
            pytest.skip(reason)
        self.mark = f"a{secrets.token_hex(2)}"
        self.switch = f"{self.mark}sw"
        self.folder = Path(tempfile.mkdtemp(prefix="asr-hosts-", dir="/tmp"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "ASR_BATCH_RAY"))}
        self.env |= FAST if fast else {}
        if token:
            self.token = self.folder / "token"
            self.token.touch(0o600)
            self.token.write_text(secrets.token_hex(32))
            self.env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}
        self.all: list[Host] = []
        try:
            ip("netns", "add", self.switch)
            ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
            ip("-n", self.switch, "link", "set", "br0", "up")
            for number in range(1, count + 1):
                self.all.append(Host(self, f"rw{number}", f"10.77.0.{number}"))
        except BaseException:
            self.close()
            raise

    @property
    def head(self) -> Host:
        return self.all[0] if self.all else None

    @property
    def others(self) -> list[Host]:
        return self.all[1:]

    def start_ray(self, workers: Sequence[Sequence[str]] | None = None) -> None:
        """Ray on all hosts: a head without CPUs, the others with these words of `ray start`, or one CPU."""
        self.head.ray_start("--num-cpus=0")
        self.head.await_ray()
        for host, words in zip(self.others, workers or [["--num-cpus=1"]] * len(self.others), strict=True):
            host.ray_start(*words)
            host.await_ray()

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *args) -> None:
        self.close()

    def close(self) -> None:
        for host in reversed(self.all):
            host.kill()
        for host in self.all:
            subprocess.run(["ip", "netns", "del", host.netns], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.switch], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
