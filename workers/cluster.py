"""A look at a cluster before joining it: can it be reached, does it let us in, do the versions fit.

`ray.init` answers a wrong token or a wrong address with 20 s of silence and a general sentence. A short
process of its own asks the head's store instead, once as the user would and once as a stranger.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version

from asr_batch.manifests.errors import ConfigError
from asr_batch.workers.session import prepare_cluster_environment

ASK = """
import json, sys
from ray._private import services
from ray._raylet import GcsClient
try:
    address = services.canonicalize_bootstrap_address(sys.argv[1])
    if address is None:
        print(json.dumps({"error": "NotFound"}))
    else:
        raw = GcsClient(address=address).internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=4)
        print(json.dumps({"address": address, **json.loads(raw)}))
except BaseException as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)[:300]}))
"""

PATIENCE = 8.0
"""Seconds after which a head that does not answer counts as unreachable."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the head told: its address as HOST:PORT, versions, and whether strangers get in."""

    address: str
    ray: str
    python: str
    authenticated: bool


def look(address: str) -> ClusterFacts:
    """Ask the head at `address` ("auto" or HOST:PORT). Raises ConfigError with what is wrong."""
    prepare_cluster_environment()
    _knock(address)
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    stranger |= {"RAY_AUTH_MODE": "disabled"}
    asked, refused = _ask(address, dict(os.environ)), _ask(address, stranger)
    answer = _answer(asked)
    if "ray_version" not in answer:
        refused.kill()
        refused.communicate()
        raise ConfigError(_trouble(address, answer))
    return ClusterFacts(
        answer["address"],
        answer["ray_version"],
        answer["python_version"],
        "ray_version" not in _answer(refused),
    )


def check(address: str, insecure: bool = False) -> ClusterFacts:
    """`look`, and refuse a cluster that does not fit. Raises ConfigError."""
    facts = look(address)
    mine = version("ray"), platform.python_version()
    if facts.ray != mine[0] or _minor(facts.python) != _minor(mine[1]):
        raise ConfigError(
            f"{facts.address}: the cluster runs Ray {facts.ray} on Python {facts.python}, this machine Ray "
            f"{mine[0]} on Python {mine[1]}; install the same Ray and the same Python 3.x on all machines"
        )
    if not facts.authenticated and not insecure:
        raise ConfigError(
            f"{facts.address}: this cluster takes commands from anyone on the network; start it with "
            "RAY_AUTH_MODE=token and a token file (deploy/ does), or say --insecure-cluster to use it anyway"
        )
    return facts


def _knock(address: str) -> None:
    """Open the head's port, which tells in 3 s what Ray would take 20 for. Raises ConfigError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(_trouble(address, {"error": "Unreachable", "text": str(error)})) from error


def _ask(address: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASK, address]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _answer(asked: subprocess.Popen[str]) -> dict[str, str]:
    try:
        out, _ = asked.communicate(timeout=PATIENCE)
        found: dict[str, str] = json.loads(out.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        asked.kill()
        asked.communicate()
        return {"error": "Unreachable", "text": "no answer"}
    return found


def _trouble(address: str, answer: dict[str, str]) -> str:
    error, text = answer["error"], answer.get("text", "")
    if error == "NotFound" or (error == "ConnectionError" and address == "auto"):
        return "--address auto: no Ray runs on this machine; join it with `ray start`, or name HOST:PORT"
    if error == "AuthenticationError":
        return (
            f"{address}: the cluster refuses this machine's token; copy the head's token file (0600) "
            "and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        )
    if error == "ValueError":
        return f"--address {address}: {text}; expected auto, local or HOST:PORT such as 192.168.1.10:6379"
    return f"{address}: no Ray head answers there ({text}); is it started, and its port open?"


def _minor(python: str) -> list[str]:
    return python.split(".")[:2]
