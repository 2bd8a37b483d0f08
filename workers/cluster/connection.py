"""Starts and stops Ray: an embedded one that nobody else can reach, or a connection to a cluster.

Ray reads most settings from the environment at import, so they are set here before the first `import ray`.
docs/cluster.md explains each one and how it was measured.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import ConfigError
from asr_batch.workers.cluster import watchdog

OBJECT_STORE_BYTES = 100_000_000
"""Object store of the embedded Ray in bytes, for small records only (Ray's minimum is 78,643,200)."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a FutureWarning
    "RAY_LOG_TO_DRIVER": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else `uv run` packs the folder and installs it for every worker
}

EMBEDDED = QUIET | {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # binds to 127.0.0.1 only, and survives a lost Wi-Fi address
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3",  # Ray's agents end soon after a driver was killed
}

CLUSTER = QUIET | {"RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor"}

TOKEN_FILE = Path("/etc/asr-batch/ray.token")
"""Path of the cluster's token, as installed by deploy/."""

ESSENTIAL = ("gcs_server", "raylet")
"""Daemons without which an embedded Ray does nothing any more."""

_token = secrets.token_hex(32)  # one per process: Ray keeps the first one that it reads


Daemons = dict[str, "subprocess.Popen[bytes]"]
"""The processes of an embedded Ray by the names of their programs."""


class Connection:
    """A running Ray; `close` ends it, or the connection to it."""

    def __init__(
        self,
        ray: Any,
        watchdog: subprocess.Popen[bytes] | None = None,
        daemons: Daemons | None = None,
    ) -> None:
        self.ray = ray
        self._watchdog, self._daemons = watchdog, daemons or {}

    def fallen(self) -> str | None:
        """The name of a daemon of an embedded Ray that has ended, killed for memory perhaps; else None."""
        ended = (name for name, daemon in self._daemons.items() if daemon.poll() is not None)
        return next((name for name in ended if name in ESSENTIAL), None)

    def abandon(self) -> None:
        """Leave a Ray whose head is gone; a clean disconnect would hang."""
        atexit.unregister(self.ray.shutdown)
        atexit.register(_end_at_once)

    def close(self) -> None:
        """Shut Ray down; the watchdog of an embedded Ray removes the rest."""
        self.ray.shutdown()
        if self._watchdog is not None:
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None


def embedded(cpus: int) -> Connection:
    """Start an embedded Ray: loopback only, random token, no dashboard, separate folder."""
    os.environ.update(EMBEDDED)
    os.environ["RAY_AUTH_TOKEN"] = _token
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_NAMESPACE"):
        os.environ.pop(name, None)
    folder = _own_folder()
    guard = _watch(folder)
    with _own_signals():
        ray = _import()
        daemons = _own_group(ray, guard)
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=0,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=str(folder),
            _plasma_directory=None if shm_free() > 2 * OBJECT_STORE_BYTES else str(folder),
        )
    return Connection(ray, guard, daemons)


def join(address: str) -> Connection:
    """Connect to the cluster at `address` (HOST:PORT), which `preflight.check` has accepted."""
    prepare_cluster_environment()
    with _own_signals():
        ray = _import()
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"{address}: this machine could not join the cluster: {error}; the driver must run on a node "
                "where `ray start` joined it (a head with --num-cpus=0 will do)"
            ) from error
    return Connection(ray)


def prepare_cluster_environment() -> None:
    """Set a driver's environment for a cluster, with the token of deploy/; the user's settings win."""
    for name, value in CLUSTER.items():
        os.environ.setdefault(name, value)
    # Ray ends the process silently when the head is gone for this long; `nodes` reports it earlier.
    os.environ.update({"RAY_gcs_rpc_server_reconnect_timeout_s": "60"})
    if os.environ.get("RAY_AUTH_MODE") is None and os.access(TOKEN_FILE, os.R_OK):
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(TOKEN_FILE))


def _end_at_once() -> None:
    """End the program before Ray's threads can crash it; only for failed jobs."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)


def _import() -> Any:
    import ray  # after the environment is set, which Ray reads as it is imported

    # Messages such as "(raylet) A worker died" would go to the driver's stdout, which is for results.
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = False
    return ray


def _own_group(ray: Any, guard: subprocess.Popen[bytes]) -> Daemons:
    """Start Ray's daemons in separate sessions that ignore SIGTERM, and register each with the watchdog.

    Returns the daemons, which are added as Ray starts them.

    Signals to this program's process group (Ctrl-C) or to all processes of its unit (`systemctl stop`)
    then reach only the driver. If its raylet died, the driver would end at once instead of finishing the
    work in progress.
    """
    daemons: Daemons = {}
    services: Any = getattr(getattr(ray, "_private", None), "services", None)
    start: Any = getattr(services, "ConsolePopen", subprocess.Popen)
    start = getattr(start, "original", start)  # of an earlier session of this process

    def start_apart(*words: Any, **more: Any) -> subprocess.Popen[bytes]:
        before = more.pop("preexec_fn", None)

        def deaf() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
            if before is not None:
                before()

        process: subprocess.Popen[bytes] = start(*words, start_new_session=True, preexec_fn=deaf, **more)
        process.terminate = process.kill  # type: ignore[method-assign]
        assert guard.stdin is not None
        guard.stdin.write(b"%d\n" % process.pid)
        guard.stdin.flush()
        daemons[Path(words[0][0]).name] = process
        return process

    if services is not None:
        services.ConsolePopen = start_apart
        start_apart.original = start  # type: ignore[attr-defined]
    return daemons


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the signal handlers of this program, which `ray.init` would replace."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            with contextlib.suppress(ValueError):  # not in the main thread: Ray does not replace them either
                signal.signal(number, handler)


def _own_folder() -> Path:
    """A folder for Ray's files with a short path: paths of sockets must stay below 107 bytes."""
    base = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="asr-ray-", dir=base if len(base) < 24 else "/tmp"))  # noqa: S108


def _watch(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process that ends this Ray if the driver is killed."""
    command = [sys.executable, "-S", "-E", watchdog.__file__, str(folder)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    )


def shm_free() -> int:
    """Free bytes of /dev/shm, 0 if it does not exist."""
    try:
        return shutil.disk_usage("/dev/shm").free  # noqa: S108
    except OSError:
        return 0
