"""A wheel with the kernels is for one kind of machine, one without for all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = "asr_batch/models/kernels/_kernels.so"
MACHINE = 18  # offset of e_machine in an ELF header
X86_64, AARCH64 = 62, 183
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources") / "tree"
    rooms = ("jobs", "manifests", "models", "pipeline", "workers")
    for name in rooms:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def wheel(sources: Path, folder: Path, **environment: str) -> Path:
    """The wheel built from `sources`."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        ".",
    ]
    shutil.rmtree(sources / "build", ignore_errors=True)
    subprocess.run(command, cwd=sources, env=os.environ | environment, check=True)
    (found,) = folder.glob("*.whl")
    return found


def library_machine(path: Path) -> int | None:
    """The kind of processor that the library in the wheel is for; None without a library."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert not [name for name in names if name.endswith((".c", ".h"))]
        if LIBRARY not in names:
            return None
        return archive.read(LIBRARY)[MACHINE]


def test_of_this_machine(sources: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no compiler")
    made = wheel(sources, tmp_path)
    expected = {"x86_64": X86_64, "aarch64": AARCH64}[os.uname().machine]
    assert f"-py3-none-linux_{os.uname().machine}" in made.name
    assert library_machine(made) == expected


def test_pure_when_asked_for_and_without_a_compiler(sources: Path, tmp_path: Path) -> None:
    for name, environment in (("asked", {"ASR_BATCH_PURE": "1"}), ("without", {"CC": "/nowhere/cc"})):
        made = wheel(sources, tmp_path / name, **environment)
        assert made.name.endswith("-py3-none-any.whl")
        assert library_machine(made) is None


def test_for_arm_by_a_cross_compiler(sources: Path, tmp_path: Path) -> None:
    compiler = "aarch64-linux-gnu-gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"not installed: {compiler}")
    cross = {"CC": compiler, "LDSHARED": f"{compiler} -shared", "_PYTHON_HOST_PLATFORM": "linux-aarch64"}
    made = wheel(sources, tmp_path, **cross)
    assert made.name.endswith("-py3-none-linux_aarch64.whl")
    assert library_machine(made) == AARCH64
