"""Dockerfile and Kubernetes files: what can be checked of them without a container runtime or a cluster."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from asr_batch.jobs.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
JOB: dict[str, Any] = yaml.safe_load((ROOT / "deploy/kubernetes/rayjob.yaml").read_text())
VOLUMES = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/volumes.yaml").read_text()))
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]

# https://ray-project.github.io/kuberay/reference/api/ (KubeRay 1.7)
JOB_FIELDS = {
    "activeDeadlineSeconds",
    "backoffLimit",
    "clusterSelector",
    "deletionStrategy",
    "entrypoint",
    "entrypointNumCpus",
    "entrypointNumGpus",
    "entrypointResources",
    "jobId",
    "managedBy",
    "metadata",
    "preRunningDeadlineSeconds",
    "rayClusterSpec",
    "runtimeEnvYAML",
    "shutdownAfterJobFinishes",
    "submissionMode",
    "submitterConfig",
    "submitterPodTemplate",
    "suspend",
    "ttlSecondsAfterFinished",
}
CLUSTER_FIELDS = {
    "authOptions",
    "autoscalerOptions",
    "enableInTreeAutoscaling",
    "gcsFaultToleranceOptions",
    "headGroupSpec",
    "headServiceAnnotations",
    "managedBy",
    "rayVersion",
    "suspend",
    "upgradeStrategy",
    "workerGroupSpecs",
}
GROUP_FIELDS = {
    "enableIngress",
    "groupName",
    "headService",
    "idleTimeoutSeconds",
    "labels",
    "maxReplicas",
    "minReplicas",
    "numOfHosts",
    "rayStartParams",
    "replicas",
    "resources",
    "scaleStrategy",
    "serviceType",
    "suspend",
    "template",
}


def tool(name: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_hadolint_finds_nothing():
    done = subprocess.run([tool("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_runs_is_not_root_and_has_no_compiler():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]
    names = [re.search(r" AS (\w+)", stage)[1] for stage in stages]
    assert names == ["build", "base", "ray", "final"]
    assert "gcc" not in "".join(stages[1:])
    for stage in stages[1:3]:
        assert re.findall(r"^USER (.*)$", stage, flags=re.M)[-1] == "10001:10001"
    assert re.search(r'^VOLUME \["/models"\]$', stages[1], flags=re.M)
    assert re.search(r"^HEALTHCHECK .*CMD \[\"asr-batch\", \"doctor\"\]$", stages[1], flags=re.M)
    assert "--require-hashes" in stages[0]


def test_what_is_copied_is_not_ignored():
    """A build without a file that the installation needs would fail on somebody else's machine only."""
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    packages = re.search(r"^packages = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    assert {name.split(".")[1] for name in re.findall(r'"([^"]+)"', packages)} <= kept
    assert {"setup.py", "pyproject.toml", "requirements/run.txt", "README.md"} <= kept


def test_the_job_has_only_fields_that_kuberay_knows():
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    assert set(JOB["spec"]) <= JOB_FIELDS
    assert set(CLUSTER) <= CLUSTER_FIELDS
    assert all(set(group) <= GROUP_FIELDS for group in GROUPS)
    assert all(isinstance(v, str) for group in GROUPS for v in group["rayStartParams"].values())
    for group in CLUSTER["workerGroupSpecs"]:
        assert 0 < group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_job_is_submitted_by_the_heads_pod_with_a_token():
    """KubeRay refuses SidecarMode with a submitter of one's own or a head that is restarted."""
    spec = JOB["spec"]
    assert spec["submissionMode"] == "SidecarMode"
    assert not {"submitterPodTemplate", "submitterConfig", "clusterSelector"} & set(spec)
    assert CLUSTER["headGroupSpec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert CLUSTER["authOptions"] == {"mode": "token"}
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True


def test_one_version_everywhere():
    assert re.search(
        rf'"ray=={CLUSTER["rayVersion"].rpartition(".")[0]}\.\*"', (ROOT / "pyproject.toml").read_text()
    )
    images = {c["image"] for group in GROUPS for c in group["template"]["spec"]["containers"]}
    assert images == {f"asr-batch-ray:{version('asr-batch')}"}


def test_pods_are_pods_and_claims_are_claims():
    validate = pytest.importorskip("kubernetes_validate").validate
    for group in GROUPS:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x"},
            "spec": group["template"]["spec"],
        }
        validate(pod, "1.35", strict=True)
    for claim in VOLUMES:
        validate(claim, "1.35", strict=True)


def test_pods_have_no_rights_and_the_same_volumes():
    claims = {volume["metadata"]["name"] for volume in VOLUMES}
    for group in GROUPS:
        spec = group["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert all(c["securityContext"]["capabilities"] == {"drop": ["ALL"]} for c in spec["containers"])
        used = {
            v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v
        }
        assert used == claims
        names = {volume["name"] for volume in spec["volumes"]}
        assert {m["name"] for c in spec["containers"] for m in c["volumeMounts"]} == names


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 0), (4, 1), (1, 1), (143, 1)])
def test_the_command_takes_failed_rows_for_a_success(tmp_path, code, expected):
    (tmp_path / "asr-batch").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "asr-batch").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", JOB["spec"]["entrypoint"]], env=environment, check=False)
    assert done.returncode == expected


def test_the_command_is_one_of_ours():
    words = shlex.split(shlex.split(JOB["spec"]["entrypoint"])[2].partition("||")[0])
    command = main.get_command(click.Context(main), words[1])
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert words[0] == "asr-batch"
    assert "--address" in words


@pytest.mark.slow
def test_the_image_builds_where_there_is_a_runtime():
    runtime = shutil.which("docker") or tool("podman")
    if subprocess.run([runtime, "info"], capture_output=True).returncode:
        pytest.skip("the container runtime does not answer")
    subprocess.run([runtime, "build", "--tag", "asr-batch:test", str(ROOT)], check=True, timeout=1800)
    done = subprocess.run(
        [runtime, "run", "--rm", "asr-batch:test", "doctor"], capture_output=True, text=True
    )
    assert "kernels" in done.stdout


def test_an_old_python_gets_one_sentence(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n')
    old.chmod(0o755)
    arguments = [tool("make"), "-C", str(ROOT), f"PYTHON={old}", f"VENV={tmp_path}/venv", "demo"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert said == [
        f"asr-batch needs Python 3.11 or newer; {old} is Python 3.9.2: name a newer one, "
        "as in `make PYTHON=python3.12 demo`"
    ]
    assert not (tmp_path / "venv").exists()
