"""The commands that look at results, after a real run with the bundled model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytest.importorskip("asr_batch.pipeline.transcribe")
ASR = [sys.executable, "-m", "asr_batch.jobs"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two files found, one of them broken, run by the way a scheduler starts it."""
    folder = tmp_path_factory.mktemp("job")
    make_tone(folder / "rec" / "tone.wav")
    (folder / "rec" / "broken.wav").write_bytes(b"no audio")
    subprocess.run([*ASR, "manifest", "build", "rec", "--to", "m.csv"], cwd=folder, check=True)
    (folder / "job.toml").write_text('manifest = "m.csv"\nout = "out"\nno_ray = true\nmodel = "nano.en"\n')
    done = subprocess.run(
        [*ASR, "run", "--config", str(folder / "job.toml"), "--quiet"],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    return folder


def make_tone(path):
    import wave

    path.parent.mkdir()
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(
            b"".join(((n * 440 // 16 % 2000) - 1000).to_bytes(2, "little", signed=True) for n in range(32000))
        )


def run(folder, *arguments):
    return subprocess.run([*ASR, *arguments], cwd=folder, capture_output=True, text=True)


def test_metrics_are_those_of_the_summary(finished):
    text = (finished / "out" / "metrics.prom").read_text()
    found = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}
    summary = json.loads((finished / "out" / "summary.json").read_text())
    assert found["asr_batch_last_run_exit_code"] == summary["exit_code"] == 3
    assert found["asr_batch_manifest_rows"] == 2
    assert found["asr_batch_audio_seconds"] == pytest.approx(summary["audio_seconds"])


def test_report_export_and_diff(finished):
    assert run(finished, "report", "out").stdout == "out/report.html\n"
    page = (finished / "out" / "report.html").read_text()
    assert "Demonstration model." in page
    assert "Finished: 2 rows, 1 failed." in page
    assert run(finished, "export", "out", "--format", "srt", "--to", "srt").returncode == 0
    assert sorted(path.name for path in (finished / "srt").iterdir()) == ["index.csv", "rec_tone.srt"]
    same = run(finished, "diff", "out", "out", "--json")
    assert (json.loads(same.stdout)["same"], json.loads(same.stdout)["changed"]) == (2, 0)
