"""Benchmarks of the driver still run: nothing else calls them between two measurements."""

from __future__ import annotations

import json

from asr_batch.jobs.run import session
from bench import driver_scale


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
