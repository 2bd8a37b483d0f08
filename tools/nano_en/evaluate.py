"""Word error rate of a Hugging Face folder on a manifest, by `transformers`: greedy, 30 s features."""

from __future__ import annotations

import csv
from pathlib import Path

import jiwer
import soundfile
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from nano_en.text import plain_words

_BATCH = 8


def evaluate(model: Path, manifest: Path, limit: int | None = None) -> float:
    """WER over the rows of `manifest` (columns audio, text); prints it with the first four rows."""
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))[:limit]
    heard = transcribe(model, [manifest.parent / row["audio"] for row in rows])
    references = [plain_words(row["text"]) for row in rows]
    heard = [plain_words(text) for text in heard]
    rate = float(jiwer.wer(references, heard))
    print(f"{model}: WER {100 * rate:.2f} % over {len(rows)} clips of {manifest}")
    for reference, text in list(zip(references, heard, strict=True))[:4]:
        print(f"  {reference!r} was transcribed as {text!r}")
    return rate


def transcribe(model: Path, files: list[Path]) -> list[str]:
    """The text of each 16 kHz mono file."""
    processor = WhisperProcessor.from_pretrained(model)
    network = WhisperForConditionalGeneration.from_pretrained(model).eval()
    texts: list[str] = []
    for start in range(0, len(files), _BATCH):
        clips = [soundfile.read(path, dtype="float32")[0] for path in files[start : start + _BATCH]]
        features = processor(clips, sampling_rate=16_000, return_tensors="pt").input_features
        with torch.no_grad():
            ids = network.generate(features, max_new_tokens=100, do_sample=False)
        texts += processor.batch_decode(ids, skip_special_tokens=True)
    return texts
