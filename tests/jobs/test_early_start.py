"""Which runs start the process of their worker before they have read their settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_batch.jobs.__main__ import begins_alone


@pytest.mark.parametrize("options", [["--out", "OUT"], ["--out=OUT", "--window", "10"], ["--out", "OUT/new"]])
def test_a_new_job(tmp_path: Path, options: list[str]) -> None:
    assert begins_alone(["run", "m.csv", *(word.replace("OUT", str(tmp_path)) for word in options)])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["status", "--out", "x"],
        ["run", "m.csv"],
        ["run", "m.csv", "--out"],
        ["run", "m.csv", "--out", "x", "--no-ray"],
        ["run", "m.csv", "--out", "x", "--workers=2"],
        ["run", "m.csv", "--out", "x", "--address", "auto"],
    ],
)
def test_others(arguments: list[str]) -> None:
    assert not begins_alone(arguments)


def test_a_job_that_goes_on_may_have_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    assert not begins_alone(["run", "m.csv", "--out", str(tmp_path)])
