"""When a run fetches its model, and what it says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asr_batch.jobs import model_choice
from asr_batch.jobs.cli.main import main
from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.run.guard import with_slowness
from asr_batch.manifests.errors import ModelError
from asr_batch.models.kernels import library


class Shop:
    """A store whose model costs a download."""

    fetched: list[str]

    def ensure(self, name: str, say) -> Path:
        self.fetched.append(name)
        say(f"{name}: 152 MB to download")
        raise ModelError("no network here")


@pytest.fixture
def fetched(monkeypatch, tmp_path) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_choice, "Store", Shop)
    monkeypatch.setattr(Shop, "fetched", [], raising=False)
    return Shop.fetched


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["run", *words, "--out", "out", "--model", "tiny.en"])
    return int(str(end.value.code))


@pytest.mark.parametrize("manifest", ["id,sound\na,a.wav\n", "id,audio\n", None])
def test_a_manifest_with_an_error_downloads_nothing(fetched, tmp_path, manifest):
    if manifest is not None:
        (tmp_path / "m.csv").write_text(manifest)
    assert run("m.csv") == 2
    assert fetched == []


@pytest.mark.parametrize(("words", "said"), [((), True), (("--quiet",), False)])
def test_the_size_of_a_download_is_no_problem_and_quiet_leaves_it_out(fetched, tmp_path, capfd, words, said):
    (tmp_path / "m.csv").write_text("id,audio\na,a.wav\n")
    assert run("m.csv", *words) == 2
    assert fetched == ["tiny.en"]
    assert ("152 MB" in capfd.readouterr().err) is said


def test_json_progress_has_the_download_as_an_event(fetched, tmp_path, capfd):
    (tmp_path / "m.csv").write_text("id,audio\na,a.wav\n")
    run("m.csv", "--progress", "json")
    assert (
        '{"event": "message", "text": "tiny.en: 152 MB to download"}' in capfd.readouterr().err.splitlines()
    )


def test_missing_kernels_are_said_where_they_would_work(monkeypatch):
    choice = model_choice.choose_model("nano.en")
    assert with_slowness(choice, RunConfig()) == choice
    monkeypatch.setattr(library, "why_numpy", lambda: "they were not compiled")
    said = with_slowness(choice, RunConfig()).warning
    assert said.endswith("numpy writes the same texts in nine times the time: they were not compiled.")
    assert with_slowness(replace(choice, warning=None), RunConfig()).warning.startswith("Without kernels")
    assert with_slowness(choice, RunConfig(provider="cpu")) == choice
    assert with_slowness(choice, RunConfig(address="head:6379")) == choice
