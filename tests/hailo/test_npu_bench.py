"""`bench`: every pipeline is measured or says why it was not; a test double is named as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asr_batch.jobs.bench import latency
from asr_batch.manifests.errors import ConfigError
from asr_batch.models.recognizer import LoadOptions
from asr_batch.models.whisper.timing import encoder_times

ROOT = Path(__file__).resolve().parent.parent.parent
NANO = ROOT / "models" / "bundled" / "nano.en"
CPU = latency.Pipeline("CPU", LoadOptions(encoder="cpu"))


def test_the_cpu_is_measured_with_its_error_rate() -> None:
    row = latency.measure(CPU, NANO, latency.clips_of(None, 1))
    assert row.note == ""
    assert row.encoder is not None
    assert row.total is not None
    assert row.decoder is not None
    assert row.encoder > 0
    assert row.decoder == pytest.approx(max(0.0, row.total - row.encoder))
    assert row.wer == 0.0, "the demo model knows the packaged clip's voices"
    assert row.memory is not None


def test_padding_to_thirty_seconds_costs_encoder_time() -> None:
    clip = latency.golden_clip()
    options = LoadOptions(encoder="cpu", threads=1)
    short, padded = (
        min(encoder_times(NANO, options, [clip] * 5, padded=padded) or []) for padded in (False, True)
    )
    assert padded > 2 * short  # 5 s of speech against 30 s


def test_a_family_without_a_separate_encoder_has_its_total() -> None:
    row = latency.measure(CPU, ROOT / "tests" / "data" / "qwen3_asr_tiny", latency.clips_of(None, 1))
    assert (row.encoder, row.decoder) == (None, None)
    assert row.total is not None
    assert row.total > 0


def test_a_pipeline_that_cannot_run_says_why(npu: Any) -> None:
    hybrid = latency.Pipeline("hybrid", LoadOptions(encoder="hailo"))
    row = latency.measure(hybrid, NANO, latency.clips_of(None, 1))
    assert row.total is None
    assert "add-hef" in row.note


def test_the_table_has_notes_and_names_a_double(npu: Any) -> None:
    rows = [latency.Row("hybrid", 31.0, 100.0, 131.0), latency.Row("full NPU", note="not measured: why")]
    assert latency.on_a_double()
    text = latency.table(rows, double=True)
    assert "131.0" in text
    assert "TEST DOUBLE" in text
    assert "full NPU: not measured: why" in text
    assert "TEST DOUBLE" not in latency.table(rows)


def test_clips_come_from_a_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        f"audio,text\n{ROOT / 'examples' / 'broken.flac'},\n{ROOT / 'examples' / 'mix.wav'},The code\n"
    )
    clips = latency.clips_of(str(manifest), 5)
    assert [clip.reference for clip in clips] == ["The code"]
    manifest.write_text("audio\nno.wav\n")
    with pytest.raises(ConfigError):
        latency.clips_of(str(manifest), 5)
