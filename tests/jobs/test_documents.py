"""The JSON documents of a data set: what is written is read back; other versions of them are survived."""

from __future__ import annotations

import json
import os

import pytest

from asr_batch.jobs.dataset.job_file import Job, JobManifest, find_job, load_job
from asr_batch.jobs.dataset.json_files import read_document, write_document
from asr_batch.jobs.dataset.summary import (
    Gate,
    InFlight,
    Point,
    ReferenceSize,
    RowCounts,
    Status,
    Summary,
    View,
    find_status,
    find_summary,
)
from asr_batch.manifests.errors import ConfigError
from asr_batch.workers.pool import NodeStatus

FULL = Summary(
    version="1",
    dataset="/d",
    ending="finished",
    exit_code=3,
    rows=RowCounts(total=3, ok=1, failed=2),
    errors={"not_found": 2},
    audio_seconds=1.5,
    gates=(Gate("max_failures", 1.0, 2.0, False),),
    nodes=(NodeStatus("n", "h", True, 2, "hailo", npu={"temperature": 60.0}),),
    history=(Point(t=1.0, audio_seconds=0.5, rows=1),),
    words=ReferenceSize(9),
    wer=0.5,
    cer=0.25,
)


def test_a_summary_is_read_back_as_it_was(tmp_path):
    write_document(tmp_path / "summary.json", FULL)
    assert find_summary(tmp_path) == FULL


def test_the_keys_on_disk_are_those_of_the_contract(tmp_path):
    write_document(tmp_path / "summary.json", Summary())
    found = json.loads((tmp_path / "summary.json").read_text())
    assert {"rows", "errors", "audio_seconds", "wall_seconds", "rtfx", "coverage", "gates", "nodes"} <= set(
        found
    )
    assert set(found["rows"]) == {"total", "ok", "empty", "partial", "failed", "pending"}
    assert {"words", "wer", "cer"}.isdisjoint(found)  # no row has a reference


def test_the_status_is_the_summary_and_more(tmp_path):
    view = View(rows=3, done=1, failed=0, partial=0, audio_seconds=1.0, share=0.5, rtfx=None, eta=None)
    write_document(tmp_path / ".status.json", Status.of(FULL, (InFlight("a", 2.0),), view))
    told = find_status(tmp_path)
    assert (told.rows, told.in_flight[0].id, told.view) == (FULL.rows, "a", view)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"rows": "many"}', '{"history": [{"t": "x"}]}', "\xff"]
)
def test_a_file_of_another_shape_is_none(tmp_path, text):
    (tmp_path / "summary.json").write_bytes(text.encode("latin-1"))
    assert find_summary(tmp_path) is None


def test_fields_of_other_versions_are_passed_over(tmp_path):
    (tmp_path / "summary.json").write_text('{"rows": {"total": 2, "lost": 1}, "invented_later": []}')
    assert find_summary(tmp_path) == Summary(rows=RowCounts(total=2))


def test_numbers_that_json_lacks_become_null(tmp_path):
    write_document(tmp_path / "x.json", Summary(wer=float("nan")))
    assert json.loads((tmp_path / "x.json").read_text())["wer"] is None


def test_a_path_that_is_not_utf8_survives(tmp_path):
    name = os.fsdecode(b"/caf\xe9/m.csv")
    write_document(tmp_path / "job.json", Job(manifest=JobManifest(path=name)))
    assert read_document(tmp_path / "job.json", Job).manifest.path == name


def test_a_job_file_that_is_none_says_so(tmp_path):
    with pytest.raises(ConfigError, match="not a data set"):
        load_job(tmp_path)
    (tmp_path / "job.json").write_text('{"manifest": "m.csv"}')
    assert find_job(tmp_path) is None
    with pytest.raises(ConfigError, match=r"job\.json: not a job.json of asr-batch"):
        load_job(tmp_path)
