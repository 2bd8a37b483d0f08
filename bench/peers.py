"""The runners that are compared, each from files to text on the same weights, two threads each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from asr_batch.manifests.records import AudioItem, Unit
from asr_batch.models.features import log_mel
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import LoadOptions
from asr_batch.models.whisper.compile.weights import read_source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.transcribe import Transcriber

TOKENS_PER_SECOND = 3.2
Run = Callable[[Sequence[Path]], list[str]]


@dataclass(frozen=True)
class Peer:
    """A runner: its name and what turns files into texts."""

    name: str
    run: Run


def ours(bundle: Path, threads: int, forced: bool, language: str | None, slots: int = 0) -> Peer:
    """asr-batch without Ray: the pipeline that a worker runs."""
    recognizer = load_recognizer(bundle, LoadOptions(threads=threads, batch_size=slots))
    tokens = round(TOKENS_PER_SECOND * recognizer.info.window) if forced else None
    options = PipelineOptions(plain=forced, language=language, max_new_tokens=tokens)

    def run(files: Sequence[Path]) -> list[str]:
        transcriber = Transcriber(recognizer, options)
        waiting = [Unit(AudioItem(str(i), str(f), str(f))) for i, f in enumerate(files)]
        texts: dict[str, str] = {}
        while waiting or transcriber.open_units():
            while waiting and transcriber.room():
                unit = waiting.pop(0)
                transcriber.add(unit, Path(unit.item.location))
            for result in transcriber.advance(60.0):
                assert result.failure is None, result.failure
                texts[result.key[0]] = " ".join(window.text for window in result.windows)
        return [texts[str(i)] for i in range(len(files))]

    return Peer("asr-batch", run)


def faster_whisper(folder: Path, threads: int, forced: bool, language: str, batch: int) -> Peer:
    """CTranslate2 int8 behind faster-whisper's BatchedInferencePipeline."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel
    from faster_whisper.audio import decode_audio

    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
    pipeline = BatchedInferencePipeline(model)
    # The converter has put the ids that generation_config suppresses into CTranslate2's config.json.
    extra: dict[str, Any] = {"suppress_tokens": [-1]}
    if forced:
        eot = model.hf_tokenizer.token_to_id("<|endoftext|>")
        extra = {"suppress_tokens": [eot], "max_new_tokens": round(30 * TOKENS_PER_SECOND)}

    def run(files: Sequence[Path]) -> list[str]:
        texts = []
        for path in files:
            seconds = len(decode_audio(str(path))) / 16000 if forced else 0
            clips = [{"start": t, "end": min(t + 30, seconds)} for t in np.arange(0, seconds, 30)]
            segments, _ = pipeline.transcribe(
                str(path),
                language=language,
                batch_size=batch,
                beam_size=1,
                temperature=0.0,
                vad_filter=not forced,
                clip_timestamps=clips if forced else None,
                **extra,
            )
            texts.append(" ".join(segment.text.strip() for segment in segments))
        return texts

    return Peer(f"faster-whisper int8, batch {batch}", run)


def convert_for_faster_whisper(source: Path, target: Path) -> Path:
    """CTranslate2's files from a Hugging Face folder."""
    from ctranslate2.converters import TransformersConverter

    names = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(source), copy_files=names).convert(str(target), quantization="int8", force=True)
    return target


def write_seed_layout(source: Path, target: Path) -> Path:
    """The seed project's files: a float32 10 s encoder and split decoders in dynamic int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
    import tiny_whisper as published

    config = WhisperConfig.from_folder(source)
    state = {f"model.{name}": np.asarray(value) for name, value in read_source(source).tensors.items()}
    spec: Any = SimpleNamespace(
        d_model=config.d_model,
        heads=config.decoder_heads,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        n_mels=config.n_mels,
        window=10,
        words=config.vocab_size,
    )
    published.special_tokens = lambda _: []
    target.mkdir(parents=True, exist_ok=True)
    onnx.save(published.encoder_model(spec, state), target / "encoder_model.onnx")
    for name, past in (("decoder_model", False), ("decoder_with_past_model", True)):
        whole = target / f"{name}.onnx"
        onnx.save(published.decoder_model(spec, state, past=past), whole)
        quantize_dynamic(whole, target / f"{name}_quantized.onnx", weight_type=QuantType.QInt8)
    return target


class SeedLoop:
    """One window at a time, the cache handed through Python at every token, padded to 1500."""

    def __init__(self, folder: Path, config: WhisperConfig, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads

        def session(name: str) -> ort.InferenceSession:
            return ort.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])

        self._encoder = session("encoder_model.onnx")
        self._first = session("decoder_model_quantized.onnx")
        self._past = session("decoder_with_past_model_quantized.onnx")
        self._names = [node.name for node in self._first.get_outputs()]
        self._config = config

    def window(self, samples: np.ndarray, prompt: Sequence[int], limit: int, endless: bool) -> list[int]:
        """Ids of one window."""
        mel = log_mel(samples, self._config.n_mels, 160000)[None]
        hidden = self._encoder.run(None, {"input_features": mel})[0]
        hidden = np.pad(hidden, ((0, 0), (0, self._config.max_source_positions - hidden.shape[1]), (0, 0)))
        feeds = {"input_ids": np.array([prompt], np.int64), "encoder_hidden_states": hidden}
        outputs = dict(zip(self._names, self._first.run(None, feeds), strict=True))
        cache = {k.replace("present", "past_key_values"): v for k, v in outputs.items() if k != "logits"}
        names = [node.name for node in self._past.get_outputs()]
        ids: list[int] = []
        logits = outputs["logits"]
        blocked = [*self._config.suppress, *([self._config.eot] if endless else [])]
        while len(ids) < limit:
            row = logits[0, -1]
            row[blocked] = -np.inf
            token = int(row.argmax())
            if token == self._config.eot:
                break
            ids.append(token)
            step = self._past.run(None, {"input_ids": np.array([[token]], np.int64), **cache})
            found = dict(zip(names, step, strict=True))
            logits = found.pop("logits")
            cache |= {k.replace("present", "past_key_values"): v for k, v in found.items()}
        return ids


def seed(folder: Path, source: Path, threads: int, forced: bool, prompt: Sequence[int]) -> Peer:
    """The seed's loop over files, cut into consecutive windows."""
    from asr_batch.models.whisper.tokenizer import WhisperTokenizer
    from asr_batch.pipeline.audio.reader import read_samples

    config = WhisperConfig.from_folder(source)
    tokenizer = WhisperTokenizer(source, config)
    loop = SeedLoop(folder, config, threads)
    limit = round(10 * TOKENS_PER_SECOND) if forced else 100

    def run(files: Sequence[Path]) -> list[str]:
        texts = []
        for path in files:
            samples = read_samples(path, 0.0, 1e9)
            parts = [samples[at : at + 160000] for at in range(0, len(samples), 160000)]
            found = [tokenizer.decode(loop.window(part, prompt, limit, forced)) for part in parts]
            texts.append(" ".join(found))
        return texts

    return Peer("the seed's way (batch 1)", run)
