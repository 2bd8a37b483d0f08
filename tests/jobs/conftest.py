from __future__ import annotations

from pathlib import Path

import fake_pool
import pyarrow.dataset as ds
import pytest

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.dataset.facts import look_at
from asr_batch.jobs.model_choice import Choice
from asr_batch.jobs.run import job, session
from asr_batch.jobs.run.driver.commits import Pace


@pytest.fixture
def folder(tmp_path: Path):
    """A folder with `n` small "audio" files and a manifest.csv."""

    def make(n: int = 6, *, names=None, extra: str = "") -> Path:
        names = names or [f"f{i}" for i in range(n)]
        lines = ["id,audio,note"]
        for number, name in enumerate(names):
            (tmp_path / f"{number}.wav").write_bytes(f"audio {number}".encode())
            lines.append(f"{name},{number}.wav,n{number}")
        (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n" + extra)
        return tmp_path

    return make


@pytest.fixture
def run(monkeypatch, tmp_path: Path):
    """Run a job with a fake pool; returns its exit code. `run.pool` is the last pool."""
    monkeypatch.setattr(session, "choose_model", lambda name, say: Choice(Path("/fake"), None))

    def go(pool=None, manifest="manifest.csv", out="out", again=(), ledger=None, **options) -> int:
        go.pool = pool or fake_pool.FakePool()
        parts = session.Parts(
            start_pool=lambda config, path: go.pool,
            assemble=fake_pool.assemble,
            split=fake_pool.split,
            looker=lambda location: look_at(location, prober=lambda path: None),
            pace=Pace(wait=0.01, commit_every=options.pop("commit_every", 0.0)),
        )
        given = {"out": str(tmp_path / out), "quiet": True, **options}
        if manifest is not None:
            given["manifest"] = str(tmp_path / manifest)
        return job.run_job(build_config(given), redo=again, parts=parts)

    return go


@pytest.fixture
def rows(tmp_path: Path):
    """The rows of a table of the data set, by id."""

    def read(table: str = "transcripts", out: str = "out"):
        parts = sorted((tmp_path / out / table).glob("*.parquet"))
        found = ds.dataset([str(part) for part in parts], format="parquet").to_table().to_pylist()
        if table == "windows":
            return found
        assert len({row["id"] for row in found}) == len(found), "a row stands twice"
        return {row["id"]: row for row in found}

    return read
