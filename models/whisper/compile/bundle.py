"""Compiles weights to a bundle: `asr-batch models compile`.

A bundle is a folder: `encoder.onnx`, `cross.onnx`, `decoder.onnx` (up to the last states),
`vocabulary_N.onnx` (from there to the logits, each for a part of the vocabulary), `decoder_words.onnx`
(the decoder with cross-attention outputs, for word times), their weights in `*.weights`, the embedding in
`embedding.weights`, the measured states of silence in `silence.npy`, the JSON files of tokenizer and
config, and `bundle.json` with the default window, precision, special ids, and SHA-256 and size of every
file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.calibration import clips_of, packaged_clips, read_recordings, recordings
from asr_batch.models.recognizer import Samples
from asr_batch.models.whisper.alignment import alignment_heads
from asr_batch.models.whisper.compile.decoder import DecoderBuilder, order_of
from asr_batch.models.whisper.compile.encoder import build_cross, build_encoder
from asr_batch.models.whisper.compile.graph import DataFile
from asr_batch.models.whisper.compile.layers import Style
from asr_batch.models.whisper.compile.measuring import measure
from asr_batch.models.whisper.compile.vocabulary import build_vocabulary, halves, make_vocabulary
from asr_batch.models.whisper.compile.weights import Source, read_source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.silence import FILE as SILENCE

FORMAT = 3
"""Version of the bundle format; bundles of other versions are rejected."""

NPU_WINDOW = 10.0
"""Seconds of a window for which the encoder of a small Whisper fits on a Hailo chip."""

PRECISIONS: Mapping[str, tuple[Style, Style]] = {
    "fp32": ("fp32", "fp32"),
    "int8": ("tensor", "row"),
    "int4": ("tensor", "int4"),
}
"""Style of the linear layers of encoder and decoder."""


def compile_bundle(
    src: Path,
    dst: Path,
    *,
    window: float | None = None,
    precision: str = "int8",
    target: str = "cpu",
    calibration: Iterable[Path | Samples] | None = None,
) -> None:
    """Build the bundle `dst` from the weights at `src`; `window`: default length of a window in seconds.

    None: as the model was trained; for an NPU at most :data:`NPU_WINDOW`.

    Silence is measured after the recordings of `calibration` (16 kHz WAV files or arrays of mono 16 kHz
    samples, read twice; None: the packaged clips). A `target` other than `cpu` also writes the kit for the
    vendor's compiler to `dst/hailo`, with a calibration set made from them. `dst` appears only when it is
    complete. Raises ModelError if the source or the audio is unusable.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"precision {precision!r} is unknown; expected one of {', '.join(PRECISIONS)}")
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise ModelError(f"{dst}: exists and is not empty; choose another folder for the bundle")
    source = read_source(src)
    dst.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dst.parent, prefix=".compile-") as work:
        folder = Path(work) / "bundle"
        folder.mkdir()
        clips = packaged_clips() if calibration is None else clips_of(read_recordings(calibration))
        config = _write_texts(source, folder)
        seconds = _window(config, window, target)
        _write(source, folder, config, seconds, precision, clips)
        if target != "cpu":
            _add_kit(src, folder, seconds, target, calibration)
        if dst.exists():
            dst.rmdir()
        shutil.move(folder, dst)


def _add_kit(
    src: Path, folder: Path, window: float, target: str, audio: Iterable[Path | Samples] | None
) -> None:
    from asr_batch.models.whisper.compile.hailo.export import export_kit  # for the compiler's kit only

    export_kit(src, folder / "hailo", window, target, audio)


def _write_texts(source: Source, folder: Path) -> WhisperConfig:
    for name, content in source.files.items():
        (folder / name).write_bytes(content)
    return WhisperConfig.from_folder(folder)


def _window(config: WhisperConfig, asked: float | None, target: str) -> float:
    if asked is None:
        return config.trained_seconds if target == "cpu" else min(NPU_WINDOW, config.trained_seconds)
    positions = round(asked * 50)
    if not 1 <= positions <= config.max_source_positions or abs(positions - asked * 50) > 1e-6:
        raise ModelError(
            f"a window of {asked} s is impossible for this model; expected a multiple of 0.02 s up to "
            f"{config.trained_seconds:g} s"
        )
    return asked


def _write(
    source: Source,
    folder: Path,
    config: WhisperConfig,
    window: float,
    precision: str,
    clips: Sequence[Samples],
) -> None:
    _check_numbers(source)
    measured = measure(source, config, recordings(clips))
    np.save(folder / SILENCE, measured.silence)
    _write_graphs(source, folder, config, precision, measured.spiky)
    described = _describe(config, window, precision)
    described["files"] = {path.name: _fingerprint(path) for path in sorted(folder.iterdir())}
    (folder / "bundle.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _check_numbers(source: Source) -> None:
    for name, tensor in source.tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelError(f"tensor {name} holds NaN or infinity; the weights are damaged")


def _write_graphs(
    source: Source, folder: Path, config: WhisperConfig, precision: str, spiky: frozenset[int]
) -> None:
    encoder_style, decoder_style = PRECISIONS[precision]
    data = DataFile(folder / "encoder.weights")
    build_encoder(source, config, encoder_style, spiky).save(folder / "encoder.onnx", data)
    data.close()
    data = DataFile(folder / "cross.weights")
    build_cross(source, config, int8=precision != "fp32").save(folder / "cross.onnx", data)
    data.close()
    _write_decoders(source, folder, config, decoder_style)


def _write_decoders(source: Source, folder: Path, config: WhisperConfig, style: Style) -> None:
    """Write both decoder graphs with one file of weights, in which equal arrays are stored once."""
    vocabulary = make_vocabulary(source, config, int8=style != "fp32")
    embedding, data = DataFile(folder / "embedding.weights"), _SharedData(folder / "decoder.weights")
    heads = order_of(alignment_heads(config))
    for name, given, followed in (("decoder", [], heads), ("decoder_words", heads, [])):
        builder = DecoderBuilder(source, config, vocabulary, style, given, followed)
        builder.build().save(folder / f"{name}.onnx", data, [(vocabulary.table, embedding)])
    for i, (start, part) in enumerate(halves(vocabulary)):
        embedding.share(part.table, vocabulary.table, vocabulary.table[:start].nbytes)
        build_vocabulary(part).save(folder / f"vocabulary_{i}.onnx", data, [(part.table, embedding)])
    data.close()
    embedding.close()


class _SharedData(DataFile):
    """A data file that stores arrays with the same content once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._known: dict[bytes, tuple[int, int]] = {}

    def write(self, array: Any) -> tuple[int, int]:
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes() + str(array.dtype).encode()).digest()
        if digest not in self._known:
            self._known[digest] = super().write(array)
        return self._known[digest]


def _describe(config: WhisperConfig, window: float, precision: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "family": "whisper",
        "window": window,
        "precision": precision,
        "n_mels": config.n_mels,
        "d_model": config.d_model,
        "vocab_size": config.vocab_size,
        "multilingual": config.multilingual,
        "ids": {
            "sot": config.sot,
            "eot": config.eot,
            "no_timestamps": config.no_timestamps,
            "no_speech": config.no_speech,
            "previous": config.previous,
            "timestamp_begin": config.timestamp_begin,
        },
    }


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "size": path.stat().st_size}
