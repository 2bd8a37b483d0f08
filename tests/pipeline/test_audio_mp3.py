"""An MP3 read in blocks is the MP3 read at once, and libmpg123 has nothing to complain about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_batch.pipeline.audio.reader import AudioStream


def test_blocks_of_an_mp3_have_no_clicks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    t = np.arange(8 * 16000) / 16000
    wave = 0.3 * np.sin(2 * np.pi * 300 * t) * (np.sin(5 * t) > 0) + 0.05 * rng.standard_normal(len(t))
    path = tmp_path / "a.mp3"
    soundfile.write(path, wave, 16000, format="MP3", subtype="MPEG_LAYER_III")
    whole, _ = soundfile.read(path, dtype="float32")
    blocks = np.concatenate(list(AudioStream(path).blocks()))
    assert np.abs(blocks - whole).max() < 1e-5  # another decoder than soundfile's
    assert capfd.readouterr().err == ""
