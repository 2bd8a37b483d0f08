"""Bundles in the store's hands: their own hashes, and bundles and checkpoints that lie."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.manifests.errors import ModelError
from asr_batch.models.load import load_recognizer
from asr_batch.models.store.names import bundled_path
from asr_batch.models.store.store import Store

BUNDLE = bundled_path("nano.en")
needs_bundle = pytest.mark.skipif(BUNDLE is None, reason="no bundled model in this checkout")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    assert BUNDLE
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))


@needs_bundle
def test_the_bundled_model_verifies_and_a_changed_one_does_not(bundle: Path, tmp_path: Path) -> None:
    assert Store(tmp_path / "store").verify("nano.en") == []
    assert Store(tmp_path / "store").verify(str(bundle)) == []
    weights = bundle / "decoder.weights"
    data = bytearray(weights.read_bytes())
    data[1000] ^= 1
    weights.write_bytes(data)
    problems = Store(tmp_path / "store").verify(str(bundle))
    assert len(problems) == 1
    assert problems[0].startswith("decoder.weights: sha256")


def change(bundle: Path, **values: object) -> None:
    path = bundle / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@needs_bundle
@pytest.mark.parametrize(
    "values",
    [
        {"files": {"../../etc/passwd": {"sha256": "0", "size": 1}}},
        {"files": {"/etc/passwd": {"sha256": "0", "size": 1}}},
        {"files": []},
        {"files": {"config.json": "x"}},
        {"format": 99},
        {"family": "other"},
        {"window": "long"},
        {"window": None},
    ],
    ids=str,
)
def test_a_bundle_that_lies_is_a_model_error(bundle: Path, values: dict[str, object]) -> None:
    change(bundle, **values)
    with pytest.raises(ModelError):
        load_recognizer(bundle)


@needs_bundle
@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": 1e999}'])
def test_broken_json_is_a_model_error(bundle: Path, text: str) -> None:
    for name in ("bundle.json", "config.json"):
        kept = (bundle / name).read_text()
        (bundle / name).write_text(text)
        with pytest.raises(ModelError):
            load_recognizer(bundle)
        (bundle / name).write_text(kept)


@needs_bundle
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("d_model", 1 << 40),
        ("vocab_size", -1),
        ("decoder_layers", 1 << 19),
        ("max_target_positions", 1 << 19),
    ],
)
def test_sizes_in_config_are_not_believed(bundle: Path, key: str, value: int) -> None:
    path = bundle / "config.json"
    text = json.dumps(json.loads(path.read_text()) | {key: value})
    path.write_text(text)
    listed = json.loads((bundle / "bundle.json").read_text())["files"]
    listed["config.json"]["size"] = len(text)
    change(bundle, files=listed)
    with pytest.raises(ModelError):
        load_recognizer(bundle)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_checkpoint_that_would_run_a_command_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    content = io.BytesIO()
    pickle.dump({"dims": {"n_mels": 80}, "model_state_dict": Bomb(mark)}, content)
    with zipfile.ZipFile(tmp_path / "tiny.pt", "w") as archive:
        archive.writestr("tiny/data.pkl", content.getvalue())
    done = CliRunner().invoke(
        main, ["models", "compile", str(tmp_path / "tiny.pt"), str(tmp_path / "out")], catch_exceptions=False
    )
    assert done.exit_code == 2
    assert "system" in done.stderr
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "tiny.pt").write_bytes(pickle.dumps(Bomb(mark)))
    done = CliRunner().invoke(main, ["models", "compile", str(tmp_path / "tiny.pt"), str(tmp_path / "out")])
    assert done.exit_code == 2
    assert not mark.exists()


@needs_bundle
@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("generation_config.json", "eos_token_id", 10**30),
        ("generation_config.json", "eos_token_id", [[]]),
        ("generation_config.json", "decoder_start_token_id", 3510),
        ("generation_config.json", "no_timestamps_token_id", float("nan")),
        ("generation_config.json", "suppress_tokens", ["x"]),
        ("generation_config.json", "lang_to_id", {"<|en|>": -1}),
        ("tokenizer.json", "added_tokens", None),
        ("tokenizer.json", "model", {"type": "BPE", "vocab": {}, "merges": [["a"]]}),
    ],
)
def test_values_of_the_wrong_kind_are_a_model_error(bundle: Path, file: str, key: str, value: object) -> None:
    text = json.dumps(json.loads((bundle / file).read_text()) | {key: value})
    (bundle / file).write_text(text)
    listed = json.loads((bundle / "bundle.json").read_text())["files"]
    listed[file]["size"] = len(text.encode())
    change(bundle, files=listed)
    with pytest.raises(ModelError):
        load_recognizer(bundle)
