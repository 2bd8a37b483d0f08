"""`bench --npu`: what cannot be measured is said, the seed's table is there, a double is called one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asr_batch.jobs.bench import npu as npu_bench
from asr_batch.models.recognizer import LoadOptions

ROOT = Path(__file__).resolve().parent.parent.parent
NANO = ROOT / "models" / "bundled" / "nano.en"


def test_the_cpu_is_measured_with_its_error_rate() -> None:
    row = npu_bench.measure(
        npu_bench.Pipeline("CPU 10 s", NANO, LoadOptions(encoder="cpu")), npu_bench.clips_of(None, 1)
    )
    assert row.note == ""
    assert row.encoder is not None
    assert row.encoder > 0
    assert row.total is not None
    assert row.wer == 0.0, "the demo model knows the packaged clip's voices"
    assert row.memory is not None


def test_what_is_not_there_is_said(npu: Any) -> None:
    row = npu_bench.measure(
        npu_bench.Pipeline("hybrid", NANO, LoadOptions(encoder="hailo")), npu_bench.clips_of(None, 1)
    )
    assert row.total is None
    assert "add-hef" in row.note


def test_the_table_has_the_seed_beside_and_names_a_double(npu: Any) -> None:
    rows = [npu_bench.Row("hybrid", 31.0, 100.0, 131.0), npu_bench.Row("full NPU", note="not measured: why")]
    assert npu_bench.on_a_double()
    text = npu_bench.npu_table(rows, double=True)
    assert "1257.4" in text
    assert "TEST DOUBLE" in text
    assert "full NPU: not measured: why" in text
    assert "TEST DOUBLE" not in npu_bench.npu_table(rows, double=False)


def test_clips_come_from_a_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        f"audio,text\n{ROOT / 'examples' / 'broken.flac'},\n{ROOT / 'examples' / 'mix.wav'},The code\n"
    )
    clips = npu_bench.clips_of(str(manifest), 5)
    assert [clip.reference for clip in clips] == ["The code"]
    from asr_batch.manifests.errors import ConfigError

    manifest.write_text("audio\nno.wav\n")
    with pytest.raises(ConfigError):
        npu_bench.clips_of(str(manifest), 5)
