"""Runs another recognizer once over a list of recordings, as a separate program.

    python bench/peers.py TOOL --model DIR --list FILES.json --to TEXTS.json [--threads 2]

`FILES.json` is a list of {"id", "path", "language"}; `TEXTS.json` maps each id to its text and has the
seconds for loading and transcribing. Imports nothing of asr-batch, so it runs in a separate environment
(`make bench` creates `.venv/bench`). Tools: faster-whisper with its defaults at beam 1 (`sequential`), its
batched pipeline (`batched`, batch 8), whisper.cpp (`whisper.cpp`), transformers (`transformers`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

File = dict[str, Any]
Transcribe = Callable[[File], str]


def sequential(model: Path, threads: int) -> Transcribe:
    """faster-whisper, int8, defaults except for beam 1, as for asr-batch."""
    from faster_whisper import WhisperModel

    whisper = WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=threads)

    def run(file: File) -> str:
        segments, _ = whisper.transcribe(file["path"], language=file["language"], beam_size=1)
        return " ".join(segment.text.strip() for segment in segments)

    return run


def batched(model: Path, threads: int) -> Transcribe:
    """faster-whisper's batched pipeline with its voice activity detection, int8, beam 1, batch 8."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    whisper = WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=threads)
    pipeline = BatchedInferencePipeline(whisper)

    def run(file: File) -> str:
        segments, _ = pipeline.transcribe(file["path"], language=file["language"], beam_size=1, batch_size=8)
        return " ".join(segment.text.strip() for segment in segments)

    return run


def whisper_cpp(model: Path, threads: int) -> Transcribe:
    """whisper.cpp through pywhispercpp: greedy, 8-bit weights (bench/ggml.py)."""
    from pywhispercpp.model import Model

    whisper = Model(str(model), n_threads=threads, print_progress=False, redirect_whispercpp_logs_to=None)

    def run(file: File) -> str:
        segments = whisper.transcribe(file["path"], language=file["language"], greedy={"best_of": 1})
        return " ".join(segment.text.strip() for segment in segments)

    return run


def transformers(model: Path, threads: int) -> Transcribe:
    """transformers in float32, long-form decoding with time stamps."""
    import soundfile
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    torch.set_num_threads(threads)
    processor = WhisperProcessor.from_pretrained(model)
    whisper = WhisperForConditionalGeneration.from_pretrained(model, dtype=torch.float32)
    multilingual = bool(whisper.generation_config.is_multilingual)

    def run(file: File) -> str:
        samples, rate = soundfile.read(file["path"], dtype="float32")
        long = len(samples) > 30 * rate
        options: dict[str, Any] = {"truncation": False, "padding": "longest"} if long else {}
        inputs = processor(
            samples, sampling_rate=rate, return_tensors="pt", return_attention_mask=True, **options
        )
        wanted = {"language": file["language"], "task": "transcribe"} if multilingual else {}
        ids = whisper.generate(**inputs, **wanted, return_timestamps=long)
        return str(processor.batch_decode(ids, skip_special_tokens=True)[0]).strip()

    return run


TOOLS: dict[str, Callable[[Path, int], Transcribe]] = {
    "sequential": sequential,
    "batched": batched,
    "whisper.cpp": whisper_cpp,
    "transformers": transformers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--list", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    begun = time.perf_counter()
    run = TOOLS[args.tool](args.model, args.threads)
    loaded = time.perf_counter()
    texts = {file["id"]: run(file) for file in json.loads(args.list.read_text())}
    done = time.perf_counter()
    found = {"load": loaded - begun, "transcribe": done - loaded, "texts": texts}
    args.to.write_text(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main()
