from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from hosts import Hosts  # noqa: E402


class Run:
    """A driver on the head; its lines are read as they come."""

    def __init__(self, host, *words, slow=0, env=None, address="auto") -> None:
        command = [sys.executable, str(HERE / "driver.py"), address, str(slow), *words]
        self.lines: list[dict] = []
        self.errors: list[str] = []
        self.process = host.popen(command, env, stdout=-1, stderr=-1)
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(json.loads(line) | {"at": time.monotonic()})

    def _read_errors(self) -> None:
        self.errors.extend(self.process.stderr)

    def until(self, check, seconds=60.0):
        """Wait until a line satisfies `check`; returns it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.lines):
                if check(line):
                    return line
            assert self.process.poll() is None or not self.lines or check(self.lines[-1]), self.told()
            time.sleep(0.05)
        raise AssertionError(self.told())

    def finish(self, seconds=120.0) -> None:
        self.process.wait(seconds)
        time.sleep(0.2)
        assert self.lines, self.told()
        assert self.lines[-1].get("end"), self.told()

    def told(self) -> str:
        return "".join(self.errors[-20:]) + "\n".join(map(str, self.lines[-20:]))

    def done(self) -> list[str]:
        return sorted(line["done"] for line in self.lines if "done" in line)

    def lost(self, reason) -> list[dict]:
        return [line for line in self.lines if line.get("reason") == reason and "lost" in line]

    def quarantined(self) -> set[tuple[str, str]]:
        return {(line["quarantined"], line["reason"]) for line in self.lines if "quarantined" in line}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Three hosts with Ray: a head without CPUs and two workers with one CPU each."""
    with Hosts(3) as made:
        made.env["PYTHONPATH"] = str(HERE.parent / "workers")
        model = tmp_path_factory.mktemp("model")
        (model / "weights.bin").write_bytes(b"weights" * 100_000)
        made.env["MODEL"] = str(model)
        made.start_ray()
        yield made


@pytest.fixture
def run(hosts):
    """Start drivers on the head; those still running at the end are stopped."""
    started = []

    def begin(*words, **more):
        started.append(Run(hosts.head, *words, **more))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()
