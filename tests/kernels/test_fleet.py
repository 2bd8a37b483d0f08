"""A job on one kind of machine, verified on another: sets of kernels hidden from the program."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr_batch.models.kernels import library
from asr_batch.models.store.store import Store

AUDIO = Path(__file__).parents[1] / "data" / "audio"
EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = "from asr_batch.jobs.cli.main import main; main()"
SETS = [one.name for one in library.all_sets()]
pytestmark = pytest.mark.skipif(not SETS, reason="no compiler at installation")


def asr_batch(kernels: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    environment = os.environ | {"ASR_BATCH_KERNELS": kernels}
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


def job(folder: Path, kernels: str, *options: str) -> Path:
    clips = sorted(AUDIO.glob("dev-*.flac"))
    done = asr_batch(kernels, "run", *clips, "--out", folder, "--model", "nano.en", "--no-ray", *options)
    assert done.returncode in (0, 3), done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kernels", [*SETS, "none"])
def test_every_set_writes_the_same_rows(kernels: str, tmp_path: Path) -> None:
    folder = job(tmp_path / "out", kernels)
    done = asr_batch(SETS[0], "verify", folder, "--sample", "100%", "--no-ray")
    assert (done.returncode, "rows were decoded" in done.stderr) == (0, False), done.stdout + done.stderr


@pytest.mark.slow
def test_published_weights_without_kernels(real_models: Store, tmp_path: Path) -> None:
    """Their texts change with every rounding: of 380 clips, 51 with log-mel features changed by 2e-7."""
    clips = sorted(AUDIO.glob("dev-*.flac"))
    folder, model = tmp_path / "out", real_models.resolve("base")
    done = asr_batch("none", "run", *clips, "--out", folder, "--model", model, "--no-ray")
    assert done.returncode in (0, 3), done.stderr
    done = asr_batch(SETS[0], "verify", folder, "--sample", "100%", "--no-ray")
    assert (done.returncode, "rows were decoded" in done.stderr) == (0, False), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="for x86-64")
@pytest.mark.parametrize("processor", ["Haswell", "Nehalem"])
def test_older_processors_write_the_same_rows(processor: str, tmp_path: Path) -> None:
    """All of the program as on a processor with AVX2, and on one without: numpy, soxr and decoders, too."""
    emulator, folder = "qemu-x86_64-static", tmp_path / "out"
    if shutil.which(emulator) is None:
        pytest.skip(f"not installed: {emulator}")
    audio = AUDIO / "dev-0001.flac", EXAMPLES / "call.wav", EXAMPLES / "podcast.mp3"
    options = "run", *map(str, audio), "--out", folder, "--model", "nano.en", "--no-ray"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    command = [emulator, "-cpu", processor, sys.executable, "-c", PROGRAM, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = asr_batch(SETS[0], "verify", folder, "--sample", "100%", "--no-ray")
    assert (done.returncode, "rows were decoded" in done.stderr) == (0, False), done.stdout + done.stderr


MODULES = """
import sys
from asr_batch.jobs.cli.main import main
try:
    main()
finally:
    print(*sys.modules)
"""


def test_onnx_runtime_is_not_loaded_where_kernels_do_everything(tmp_path: Path) -> None:
    """Driver and worker are one process here. It takes 20 MB, and a tenth of a second to import."""
    options = ["run", AUDIO / "dev-0001.flac", "--out", tmp_path, "--model", "nano.en", "--no-ray"]
    program = [sys.executable, "-c", MODULES, *map(str, options)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"asr_batch.models.silero.kernel", "asr_batch.models.whisper.engine.kernel"} <= loaded
    assert not {name for name in loaded if name.split(".")[0] == "onnxruntime"}
