"""A head with another Ray or Python: said at once by the driver, and not minded where it does no harm."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
RAY, PYTHON = version("ray"), platform.python_version()
MINOR = PYTHON.rpartition(".")[0]


@pytest.fixture
def head(request):
    """A head on a host of its own that reports the versions of the test's parameter."""
    with Hosts(1) as hosts:
        hosts.head.ray_start("--num-cpus=1", starter=[str(HERE / "other_head.py"), *request.param])
        hosts.head.await_ray()
        yield hosts.head


def run(head, tmp_path, *words):
    """One clip through the whole command; (exit code, what it said, seconds)."""
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"audio\n{EXAMPLES / 'telephone.wav'}\n")
    command = [sys.executable, "-m", "asr_batch.jobs", "run", str(manifest), "--out", str(tmp_path / "out")]
    begun = time.monotonic()
    job = head.popen([*command, "--address", "auto", *words], stdout=-1, stderr=-1)
    _, said = job.communicate(timeout=90)
    return job.returncode, said, time.monotonic() - begun


@pytest.mark.parametrize("head", [("2.58.1", PYTHON), (RAY, "3.9.2")], ids=["Ray", "Python"], indirect=True)
def test_a_mismatch_is_one_sentence_and_no_silence(head, tmp_path):
    code, said, took = run(head, tmp_path)
    assert code == 2
    assert said.count("\n") <= 2
    assert f"this machine Ray {RAY} on Python {PYTHON}; install the same Ray" in said
    assert "the cluster runs Ray 2.58.1" in said or "on Python 3.9.2," in said
    assert took < 18  # Ray alone is silent for 20 s; docs/cluster.md has what was measured, 1.5 s


@pytest.mark.parametrize("head", [(RAY, f"{MINOR}.99")], ids=["patch"], indirect=True)
def test_another_patch_level_of_python_works(head, tmp_path):
    code, said, _ = run(head, tmp_path)
    assert code == 0, said
