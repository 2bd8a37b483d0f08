"""What the look at a cluster says of heads that do not fit (tests/cluster has real ones)."""

from __future__ import annotations

import os
import socket
import time
from importlib.metadata import version
from platform import python_version

import pytest

from asr_batch.manifests.errors import ConfigError
from asr_batch.workers.cluster import preflight

RAY, PYTHON = version("ray"), python_version()
MINOR = PYTHON.rpartition(".")[0]


@pytest.fixture
def head(monkeypatch):
    """A head that answers the user and a stranger with the given dictionaries."""

    def answer(mine, stranger):
        monkeypatch.setattr(preflight, "_knock", lambda address: None)
        monkeypatch.setattr(
            preflight, "_ask", lambda _, env: stranger if env.get("RAY_AUTH_MODE") == "disabled" else mine
        )

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    return answer


def told(ray, python):
    return {"address": "10.0.0.1:6379", "ray_version": ray, "python_version": python}


REFUSED = {"error": "AuthenticationError", "text": ""}


@pytest.mark.parametrize(("ray", "python"), [("2.58.1", PYTHON), (RAY, "3.9.2"), ("3.0.0", "2.7.18")])
def test_another_ray_or_python_is_told_with_both_versions(head, ray, python):
    head(told(ray, python), REFUSED)
    with pytest.raises(ConfigError) as caught:
        preflight.check("auto")
    assert str(caught.value) == (
        f"10.0.0.1:6379: the cluster runs Ray {ray} on Python {python}, this machine Ray {RAY} on Python "
        f"{PYTHON}; install the same Ray and the same Python 3.x on all machines"
    )


def test_another_patch_level_of_python_fits(head):
    head(told(RAY, f"{MINOR}.99"), REFUSED)
    assert preflight.check("auto") == "10.0.0.1:6379"


def test_a_head_that_answers_strangers_is_refused_unless_asked_for(head):
    head(told(RAY, PYTHON), told(RAY, PYTHON))
    with pytest.raises(ConfigError, match="takes commands from anyone on the network"):
        preflight.check("auto")
    assert preflight.check("auto", insecure=True) == "10.0.0.1:6379"


def test_a_head_that_does_not_answer_a_stranger_is_not_taken_for_locked(head):
    head(told(RAY, PYTHON), {"error": "Unreachable", "text": "no answer"})
    with pytest.raises(ConfigError, match="cannot determine whether"):
        preflight.check("auto")


def test_a_ray_that_another_command_started_for_itself_is_no_cluster(head):
    head({"error": "Unreachable", "text": "no answer"}, REFUSED)
    with pytest.raises(
        ConfigError, match=r"--address auto: the Ray on this machine does not answer .* HOST:PORT"
    ):
        preflight.check("auto")


def test_a_head_that_refuses_the_token_is_told(head):
    head(REFUSED, REFUSED)
    with pytest.raises(ConfigError, match="rejects this machine's token"):
        preflight.check("10.0.0.1:6379")


@pytest.mark.parametrize("address", ["10.0.0.1", "somewhere", "host:", ":6379", "host:port"])
def test_an_address_of_no_form_is_told_without_asking(address):
    with pytest.raises(ConfigError, match="expected auto, local or HOST:PORT"):
        preflight.check(address)


def test_a_closed_port_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match="no Ray head answers"):
        preflight.check(address)


@pytest.fixture
def slow_ray(monkeypatch, tmp_path):
    """A Ray that takes 2 s to import, with a head that answers after as many seconds as the test says."""
    (tmp_path / "ray/_private").mkdir(parents=True)
    (tmp_path / "ray/__init__.py").write_text("import time; time.sleep(2)")
    (tmp_path / "ray/_private/__init__.py").write_text("")
    (tmp_path / "ray/_private/services.py").write_text("canonicalize_bootstrap_address = lambda given: given")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(preflight, "PATIENCE", 1)

    def answering_after(seconds):
        (tmp_path / "ray/_raylet.py").write_text(
            "import time\n"
            "class GcsClient:\n"
            f"    def __init__(self, address): time.sleep({seconds!r})\n"
            '    def internal_kv_get(self, *_, **__): return b\'{"ray_version": "1"}\'\n'
        )
        return preflight._ask("10.0.0.1:6379", dict(os.environ))

    return answering_after


def test_a_slow_import_is_not_a_head_that_does_not_answer(slow_ray):
    assert slow_ray(0) == {"address": "10.0.0.1:6379", "ray_version": "1"}


def test_a_head_that_hangs_is_given_up(slow_ray):
    begun = time.monotonic()
    assert slow_ray(3600)["error"] == "Unreachable"
    assert time.monotonic() - begun < 30
