"""Benchmarks of the driver still run: nothing else calls them between two measurements."""

from __future__ import annotations

import json
from argparse import ArgumentError, ArgumentParser

import pytest

from asr_batch.jobs.run import session
from bench import driver_scale
from bench.inputs import an_existing_file, read_manifest


def test_driver_scale_plans_runs_and_resumes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(session, "choose_model", session.choose_model)  # which the benchmark replaces
    monkeypatch.setattr(driver_scale, "FILES", 3)
    driver_scale.prepare(tmp_path, 20)
    driver_scale.plan(tmp_path)
    assert json.loads(capsys.readouterr().out)["rows"] == 20
    driver_scale.run(tmp_path)
    driver_scale.run(tmp_path)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["rows"]["ok"], summary["rows"]["total"], summary["run"]["rows"]) == (20, 20, 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"audio,language\na.wav,en\n", "no column text; expected a CSV with audio, text"),
        (b"audio,text\n", "no rows below the header"),
        (b"\xff\xfe\x00", "cannot be read as a CSV manifest"),
        (b"\xef\xbb\xbfaudio,text\na.wav,hi\n", None),
    ],
)
def test_a_manifest_that_a_benchmark_cannot_use_is_one_sentence(tmp_path, content, told):
    path = tmp_path / "clips.csv"
    path.write_bytes(content)
    if told is None:
        assert read_manifest(path, "audio", "text") == [{"audio": "a.wav", "text": "hi"}]
    else:
        with pytest.raises(SystemExit, match=told):
            read_manifest(path, "audio", "text")


def test_a_folder_in_place_of_a_manifest_is_a_usage_error(tmp_path):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--clips", type=an_existing_file)
    with pytest.raises(ArgumentError, match="a folder; expected a file"):
        parser.parse_args(["--clips", str(tmp_path)])
