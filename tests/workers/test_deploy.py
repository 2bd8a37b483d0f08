"""The files of deploy/: what can be checked of them without machines."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))


def tool(name) -> str:
    """A command of this Python's environment or of the system; skips where there is none."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_token_is_private_random_and_never_overwritten(tmp_path):
    made = []
    for name in ("a", "b"):
        run = subprocess.run(["sh", DEPLOY / "token.sh", tmp_path / name], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        made.append((tmp_path / name).read_text())
    assert all(re.fullmatch("[0-9a-f]{64}", token) for token in made)
    assert made[0] != made[1]
    again = subprocess.run(["sh", DEPLOY / "token.sh", tmp_path / "a"], capture_output=True, text=True)
    assert again.returncode == 1
    assert (tmp_path / "a").read_text() == made[0]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_valid(unit, tmp_path):
    verify = [tool("systemd-analyze"), "verify"]
    text = unit.read_text().replace("/opt/asr-batch/bin/ray", "/bin/true").replace("=asr\n", "=root\n")
    (tmp_path / unit.name).write_text(text)
    run = subprocess.run([*verify, tmp_path / unit.name], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_use_only_options_that_ray_start_has(unit):
    scripts = pytest.importorskip("ray.scripts.scripts")
    known = {option for param in scripts.start.params for option in param.opts}
    used = re.findall(r"--[a-z-]+", unit.read_text().partition("ExecStart=")[2].partition("\nRestart")[0])
    assert len(used) > 10
    assert set(used) - known == set()


def test_every_variable_of_the_units_is_set_by_the_environment_files():
    given = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / "node.env").read_text(), re.MULTILINE))
    written = set(re.findall(r'echo "([A-Z_]+)=', (DEPLOY / "provision.sh").read_text()))
    needed = {name for unit in UNITS for name in re.findall(r"\$\{([A-Z_]+)\}", unit.read_text())}
    assert needed <= given
    assert needed <= written


def test_environment_file_asks_for_a_token():
    lines = (DEPLOY / "ray.env").read_text().splitlines()
    assert "RAY_AUTH_MODE=token" in lines


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("*.sh")), ids=lambda script: script.name)
def test_scripts_pass_shellcheck(script):
    run = subprocess.run([tool("shellcheck"), script], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda file: file.name)
def test_yaml_files_pass_yamllint(file):
    rules = "{extends: default, rules: {line-length: {max: 140}, document-start: disable, braces: disable}}"
    run = subprocess.run([tool("yamllint"), "--strict", "-d", rules, file], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_ray_reads_its_yaml_and_the_commands_are_ray_start():
    yaml = pytest.importorskip("yaml")
    commands = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((DEPLOY / "ray-up.yaml").read_text())
    commands.validate_config(commands.prepare_config(config))
    starts = [*config["head_start_ray_commands"][1:], *config["worker_start_ray_commands"][1:]]
    known = {
        option for param in pytest.importorskip("ray.scripts.scripts").start.params for option in param.opts
    }
    for line in starts:
        used = re.findall(r"--[a-z-]+", line.partition("ray start")[2])
        assert used
        assert set(used) <= known


def test_provision_says_what_is_missing(tmp_path):
    script = DEPLOY / "provision.sh"
    run = subprocess.run(["sh", script, "--wheel", tmp_path / "no.whl"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "--wheel: no such file" in run.stderr
