"""Measured silence: the table, what stands behind a window, and that the decoder sees it as the positions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import processors
import pytest
import whisper_reference as reference
from safetensors.numpy import save_file
from tiny_whisper import weights
from whisper_bundles import bundle, decode, options_for, source

from asr_batch.manifests.errors import ModelError
from asr_batch.models.calibration import clips_of, packaged_clips, recordings
from asr_batch.models.features import log_mel
from asr_batch.models.load import load_recognizer
from asr_batch.models.onnx.sessions import open_session
from asr_batch.models.recognizer import LoadOptions, WindowRequest
from asr_batch.models.whisper.compile.bundle import compile_bundle
from asr_batch.models.whisper.compile.encoder import build_encoder
from asr_batch.models.whisper.compile.graph import DataFile
from asr_batch.models.whisper.compile.measuring import TrueEncoder, measure
from asr_batch.models.whisper.compile.weights import read_source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.cross import CLOSED, with_silence
from asr_batch.models.whisper.engine.recent import Recent
from asr_batch.models.whisper.silence import (
    BLOCK,
    LEAST,
    LEVELS,
    STEP,
    Silence,
    average_silence,
    encoded_positions,
    features,
    read_silence,
)

pytest.importorskip("onnx")
MODEL = Path(__file__).parents[2] / "models" / "bundled" / "nano.en"
SPEC = reference.SPECS[6]  # trained on 30 s


def test_a_window_is_encoded_with_a_margin_and_for_six_seconds_at_least() -> None:
    assert encoded_positions(8 * 16000, 1500) == 420
    assert encoded_positions(8 * 16000 + 1, 1500) == 440
    assert encoded_positions(1, 1500) == LEAST
    assert encoded_positions(30 * 16000, 1500) == 1500
    assert encoded_positions(5 * 16000, 250) == 250


def test_features_are_the_first_frames_of_the_whole_length() -> None:
    for seconds in (0.3, 4.0, 9.99, 30.0):
        samples = reference.audio(3, seconds)
        positions = encoded_positions(len(samples), 1500)
        whole = log_mel(samples, 80, 30 * 16000)
        np.testing.assert_array_equal(features(samples, 80, positions, 1500), whole[:, : 2 * positions])
    full = reference.audio(4, 10.0)  # an NPU's window without a margin
    np.testing.assert_array_equal(features(full, 80, 500, 1500), log_mel(full, 80, 480000)[:, :1000])


def test_the_table_holds_means_behind_the_recordings() -> None:
    rng = np.random.default_rng(0)
    states = rng.standard_normal((2, 250, 8)).astype(np.float32)
    left = iter(states)
    clips = [np.zeros(16000, np.float32), np.zeros(48000, np.float32)]  # silence from 80 and from 180 on
    table = average_silence(lambda log_mel: next(left), clips, 80, 250)
    assert table.shape == (13, 8)
    np.testing.assert_allclose(table[4], states[0, 80:100].mean(axis=0), atol=0.51 / LEVELS)
    np.testing.assert_allclose(table[10], states[:, 200:220].mean(axis=(0, 1)), atol=0.51 / LEVELS)
    np.testing.assert_allclose(table[12], states[:, 240:250].mean(axis=(0, 1)), atol=0.51 / LEVELS)
    np.testing.assert_array_equal(table[:4], table[[4] * 4])


def test_what_stands_behind_a_window() -> None:
    table = np.arange(13 * 4, dtype=np.float32).reshape(13, 4)
    silence = Silence(table, 250)
    states, sizes = silence.behind(210)
    np.testing.assert_array_equal(states, table[11:])
    assert sizes.tolist() == [20, 10]
    assert len(silence.behind(250)[0]) == 0
    rows, bias = with_silence(np.ones((210, 4), np.float32), silence)
    assert len(rows) % BLOCK == 0
    np.testing.assert_array_equal(rows[212:214], table[11:])  # from a whole group of 80 ms on
    np.testing.assert_allclose(bias[0, 0, 0, 212:214], np.log([20, 10]))
    assert (bias[0, 0, 0, :210] == 0).all()
    assert (bias[0, 0, 0, 210:212] == CLOSED).all()
    assert (bias[0, 0, 0, 214:] == CLOSED).all()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_group_counts_as_the_positions_that_it_stands_for(tmp_path: Path, precision: str) -> None:
    """Logits over 8 s and groups are those over 2 s and every group's state as often as it has positions."""
    model = bundle(tmp_path, SPEC, precision)
    engine, feed = model._engine, model._feed  # type: ignore[attr-defined]
    (hidden,) = feed.encode([reference.audio(5, 8.0)])
    table = read_silence(tmp_path / precision, SPEC.d_model, 1500)
    states, sizes = table.behind(len(hidden))
    spread = np.concatenate([hidden, np.repeat(states, sizes, axis=0)])
    assert (len(hidden), len(spread)) == (420, 1500)
    short, long = engine.first_logits(hidden), engine.first_logits(spread)
    assert np.abs(short - long).max() < (1e-4 if precision == "fp32" else 0.03) * np.abs(long).max()
    # It matters: another silence gives other logits.
    other = Silence(np.roll(table.states, 3, axis=1), 1500)
    engine.projector._silence = other
    assert np.abs(engine.first_logits(hidden) - long).max() > 0.05 * np.abs(long).max()


def test_silence_measured_behind_speech_is_what_the_encoder_makes_of_it(tmp_path: Path) -> None:
    model = bundle(tmp_path, SPEC)
    feed = model._feed  # type: ignore[attr-defined]
    clip = packaged_clips()[5]
    (true,) = feed.encode([clip], whole=True)
    table = read_silence(tmp_path / "fp32", SPEC.d_model, 1500).states
    first = encoded_positions(len(clip), 1500) // STEP
    near = np.abs(table[first:] - true.reshape(-1, STEP, SPEC.d_model)[first:].mean(axis=1)).mean()
    assert near < 0.2 * np.abs(true).mean()


def test_own_calibration_audio_is_used(tmp_path: Path) -> None:
    loud = [reference.audio(i, 3.0) for i in range(3)]
    compile_bundle(source(tmp_path / "src", SPEC), tmp_path / "own", precision="fp32", calibration=loud)
    compile_bundle(tmp_path / "src", tmp_path / "ours", precision="fp32")
    own, ours = (read_silence(tmp_path / name, SPEC.d_model, 1500).states for name in ("own", "ours"))
    assert own.shape == ours.shape
    assert not np.allclose(own, ours, atol=1e-4)
    with pytest.raises(ModelError, match="less than a second of sound"):
        compile_bundle(tmp_path / "src", tmp_path / "none", calibration=[np.zeros(100, np.float32)])
    assert not (tmp_path / "none").exists()


def test_packaged_clips_are_speech_of_every_length() -> None:
    clips = packaged_clips()
    assert all(1.5 < len(clip) / 16000 < 8 and 0.1 < np.abs(clip).max() <= 1 for clip in clips)
    lengths = sorted(len(one) / 16000 for one in recordings(clips))
    assert lengths[0] < 3
    assert lengths[-1] == 24
    assert [len(piece) / 16000 for piece in clips_of([reference.audio(1, 6.0)])] == [2, 3, 1]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_windows_of_any_length_share_a_batch(tmp_path: Path, precision: str) -> None:
    """Short, long and plain windows side by side, as alone; and nothing is encoded that is not there."""
    lengths = (0.4, 29.9, 2.0, 7.3, 12.0, 1.1, 20.0, 3.0, 30.0, 5.5)
    clips = [reference.audio(50 + i, seconds) for i, seconds in enumerate(lengths)]
    seen = []
    for slots in (1, 3, 16):
        model = bundle(tmp_path, SPEC, precision, batch_size=slots, window=30)
        assert model.info.window == 30
        encoder, frames = model._encoder, []  # type: ignore[attr-defined]
        encode = encoder.encode
        encoder.encode = lambda log_mel, to=frames, encode=encode: (
            to.append(log_mel.shape[2]),
            encode(log_mel),
        )[1]
        requests = [WindowRequest(i, clip, options_for(SPEC, plain=i == 3)) for i, clip in enumerate(clips)]
        order = np.random.default_rng(slots).permutation(len(clips))
        results = decode(model, [requests[i] for i in order])
        seen.append([(results[i].tokens, results[i].avg_logprob) for i in range(len(clips))])
        wanted = [1500 if i == 3 else encoded_positions(len(clip), 1500) for i, clip in enumerate(clips)]
        assert sorted(frames) == sorted(2 * positions for positions in wanted)
    assert seen[0] == seen[1] == seen[2]
    assert len({tokens for tokens, _ in seen[0]}) > 3


def test_memory_of_the_graphs_follows_the_longest_window(tmp_path: Path) -> None:
    model = bundle(tmp_path, SPEC, "int8", window=30, provider="cpu")
    buffers, wanted = model._engine.buffers, options_for(SPEC, plain=False)  # type: ignore[attr-defined]
    short, long = reference.audio(1, 1.0), reference.audio(2, 30.0)
    decode(model, [WindowRequest(0, short, wanted)])
    assert buffers.stored < 400
    decode(model, [WindowRequest(0, long, wanted)])
    assert buffers.stored == 1536
    decode(model, [WindowRequest(i, short, wanted) for i in range(70)])
    assert buffers.stored < 400


def test_a_window_longer_than_the_model_is_refused() -> None:
    with pytest.raises(ModelError, match="window of 31 s is too long; expected at most 30 s"):
        load_recognizer(MODEL, LoadOptions(window=31))
    assert load_recognizer(MODEL, LoadOptions(window=7.5)).info.window == 7.5


def test_a_bundle_of_before_names_the_command(tmp_path: Path) -> None:
    folder = shutil.copytree(MODEL, tmp_path / "older")
    said = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(said | {"format": 2}))
    with pytest.raises(ModelError, match="asr-batch models compile SRC DST --precision int8"):
        load_recognizer(folder)


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "silence.npy", np.full((75, 4), np.nan, np.float32))
    with pytest.raises(ModelError, match="compile the model again"):
        read_silence(tmp_path, 4, 1500)
    np.save(tmp_path / "silence.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(ModelError, match=r"\(75, 4\)"):
        read_silence(tmp_path, 4, 1500)


def test_a_layer_with_rows_that_stand_out_gets_a_scale_for_each(tmp_path: Path) -> None:
    """One window has a value a hundred times the others; a scale per window would leave them two levels."""
    state = weights(SPEC)
    up = state["model.encoder.layers.0.fc1.weight"]
    up[0] = 0
    up[0, np.argmax(np.abs(up[1]))] = 300  # loud where one channel is
    folder = source(tmp_path / "src", SPEC)
    save_file(state, folder / "model.safetensors")
    config = WhisperConfig.from_folder(folder)
    read = read_source(folder)
    spiky = measure(read, config, packaged_clips()[:3]).spiky
    assert spiky == {0}
    hidden = {}
    clip = features(packaged_clips()[1], SPEC.n_mels, 240, 1500)[None]
    for name, style, rows in (("true", "fp32", ()), ("rows", "tensor", spiky), ("window", "tensor", ())):
        data = DataFile(tmp_path / f"{name}.weights")
        build_encoder(read, config, style, frozenset(rows)).save(tmp_path / f"{name}.onnx", data)
        data.close()
        session = open_session(tmp_path / f"{name}.onnx", provider="cpu").session
        hidden[name] = session.run(["hidden"], {"log_mel": clip})[0]
    off = {name: np.abs(hidden[name] - hidden["true"]).mean() for name in ("rows", "window")}
    assert off["rows"] < 0.7 * off["window"]


def test_a_window_is_encoded_once_to_detect_and_compare_its_languages(tmp_path: Path) -> None:
    spec = reference.SPECS[4]
    clips = [reference.audio(70 + i, 1.0 + i) for i in range(3)]
    requests = [WindowRequest((i, code), clip, options_for(spec, plain=False, language=code))
                for i, clip in enumerate(clips) for code in ("de", "fr")]  # fmt: skip
    told = decode(bundle(tmp_path, spec), requests)
    detected, decoded = bundle(tmp_path, spec), bundle(tmp_path, spec)
    detected.detect_language(clips)
    decode(decoded, requests[::2])
    for model in (detected, decoded):
        encoder = model._encoder  # type: ignore[attr-defined]
        encoder.encode = lambda log_mel: pytest.fail("encoded again")
        found = decode(model, requests)
        assert [(found[r.key].tokens, found[r.key].avg_logprob) for r in requests] == [
            (told[r.key].tokens, told[r.key].avg_logprob) for r in requests
        ]


@pytest.mark.parametrize("changes", [{"search": True}, {"beam_size": 2}, {"draft": (3, 4)}])
def test_states_that_no_other_language_needs_are_not_kept(tmp_path: Path, changes: dict[str, Any]) -> None:
    spec = reference.SPECS[4]
    options = replace(options_for(spec, plain=False, language="de"), **changes)
    model = bundle(tmp_path, spec)
    decode(model, [WindowRequest(0, reference.audio(70, 1.0), options)])
    assert not model._feed._recent._kept  # type: ignore[attr-defined]


def test_recent_states_are_those_of_the_same_samples_and_positions() -> None:
    one, other = reference.audio(1, 1.0), reference.audio(2, 1.0)
    states = np.ones((80, 4), np.float32)
    recent = Recent(most=200)
    recent.keep(one, states)
    assert recent.find(one.copy(), 80) is states
    assert recent.find(one, 100) is None
    assert recent.find(other, 80) is None
    recent.keep(other, states + np.nan)
    assert recent.find(other, 80) is None
    recent.keep(other, states[:60])
    assert recent.find(one, 80) is states  # used last
    recent.keep(reference.audio(3, 1.0), states)
    assert recent.find(other, 60) is None
    assert recent.find(one, 80) is states


@pytest.mark.slow
def test_a_model_compiled_on_another_processor_has_the_same_hash(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from asr_batch.models.whisper.bundle import read_bundle
from asr_batch.models.whisper.compile.bundle import compile_bundle
source, target = map(Path, sys.argv[1:])
compile_bundle(source, target / str(len(list(target.iterdir()))))
print(read_bundle(max(target.iterdir())).sha256)
"""
    (tmp_path / "bundles").mkdir()
    found = set(processors.printed(program, source(tmp_path / "src", SPEC), tmp_path / "bundles"))
    assert len(found) == 1


def test_the_float64_encoder_is_the_model(tmp_path: Path) -> None:
    folder = source(tmp_path / "src", SPEC)
    config, read = WhisperConfig.from_folder(folder), read_source(folder)
    data = DataFile(tmp_path / "encoder.weights")
    build_encoder(read, config, "fp32").save(tmp_path / "encoder.onnx", data)
    data.close()
    sound = features(packaged_clips()[1], SPEC.n_mels, 240, 1500)
    session = open_session(tmp_path / "encoder.onnx", provider="cpu").session
    hidden = session.run(["hidden"], {"log_mel": sound[None]})[0][0]
    np.testing.assert_allclose(TrueEncoder(read, config).run(sound)[0], hidden, atol=2e-5)
