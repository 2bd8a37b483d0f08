"""Checks a cluster before joining it: reachability, authentication, versions.

`ray.init` answers a wrong token or address with 20 s of silence and a vague message. A short separate
process queries the head's store instead, once as the user would and once without the token.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from platform import python_version

from asr_batch.manifests.errors import ConfigError
from asr_batch.workers.cluster.connection import prepare_cluster_environment

ASK = """
import json, signal, sys
from ray._private import services
from ray._raylet import GcsClient
signal.alarm(int(sys.argv[2]))
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

PATIENCE = 8
"""Seconds after which a head that does not answer counts as unreachable."""

START = 60
"""Seconds that the process that asks may take to import Ray, on a busy Pi."""


def check(address: str, insecure: bool = False) -> str:
    """Query the head at `address` ("auto" or HOST:PORT), and reject an unsuitable cluster.

    Returns HOST:PORT. Raises ConfigError with the reason.
    """
    prepare_cluster_environment()
    _knock(address)
    answer = _ask(address, dict(os.environ))
    if "ray_version" not in answer:
        raise ConfigError(_trouble(address, answer))
    _compare(answer)
    if not insecure:
        _expect_a_lock(answer["address"])
    return answer["address"]


def _expect_a_lock(address: str) -> None:
    """Query without the token. Raises ConfigError unless that is refused."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    answer = _ask(address, others | {"RAY_AUTH_MODE": "disabled"})
    if "ray_version" in answer:
        raise ConfigError(
            f"{address}: this cluster takes commands from anyone on the network; start it with "
            "RAY_AUTH_MODE=token and a token file (deploy/ does), or use --insecure-cluster to accept it"
        )
    if answer["error"] != "AuthenticationError":
        raise ConfigError(
            f"{address}: cannot determine whether this cluster requires a token ({answer.get('text', '')}); "
            "try again, or use --insecure-cluster to accept it"
        )


def _compare(answer: dict[str, str]) -> None:
    """Raise ConfigError if the head's Ray version or Python minor version differs from this machine's."""
    theirs, mine = (answer["ray_version"], answer["python_version"]), (version("ray"), python_version())
    if theirs[0] != mine[0] or _minor(theirs[1]) != _minor(mine[1]):
        raise ConfigError(
            f"{answer['address']}: the cluster runs Ray {theirs[0]} on Python {theirs[1]}, this machine Ray "
            f"{mine[0]} on Python {mine[1]}; install the same Ray and the same Python 3.x on all machines"
        )


def _knock(address: str) -> None:
    """Connect to the head's port, which fails in 3 s where Ray would take 20. Raises ConfigError."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"--address {address}: expected auto, local or HOST:PORT such as 192.168.1.10:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(_trouble(address, {"error": "Unreachable", "text": str(error)})) from error


def _ask(address: str, environment: dict[str, str]) -> dict[str, str]:
    command = [sys.executable, "-c", ASK, address, str(PATIENCE)]
    try:
        asked = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=START + PATIENCE, check=False
        )
        found: dict[str, str] = json.loads(asked.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        return {"error": "Unreachable", "text": "no answer"}
    return found


def _trouble(address: str, answer: dict[str, str]) -> str:
    error, text = answer["error"], answer.get("text", "")
    if error == "NotFound" or (error == "ConnectionError" and address == "auto"):
        return "--address auto: no Ray runs on this machine; join it with `ray start`, or name HOST:PORT"
    if error == "AuthenticationError":
        return (
            f"{address}: the cluster rejects this machine's token; copy the head's token file (0600) "
            "and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        )
    if address == "auto":
        return (
            f"--address auto: the Ray on this machine does not answer ({text}). If another command has "
            "started it for itself, name the cluster's head as HOST:PORT; if the cluster uses TLS, set "
            "RAY_USE_TLS=1 and its certificates"
        )
    return f"{address}: no Ray head answers ({text}); check that it is running and its port is open"


def _minor(python: str) -> list[str]:
    return python.split(".")[:2]
